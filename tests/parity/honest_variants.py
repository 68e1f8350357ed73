"""Float32 arithmetic that is correct but different."""

import numpy as np
from registry import HONEST, network, numpy_cnn


@network("im2col in float32", HONEST)
class Plain(numpy_cnn.Network):
    pass


@network("channels summed in reverse", HONEST)
class Reversed(numpy_cnn.Network):
    def convolve(self, name, x, weight, bias):
        return super().convolve(name, x[:, ::-1].copy(), weight[:, ::-1].copy(), bias)


@network("one pixel after the other", HONEST)
class Sequential(numpy_cnn.Network):
    """Sums in a loop with one float32 accumulator: the least accurate honest code."""

    def bias_gradient(self, name, delta):
        terms = delta.transpose(1, 0, 2, 3).reshape(delta.shape[1], -1)
        return np.cumsum(terms, axis=1, dtype=np.float32)[:, -1]

    def weight_gradient(self, name, x, delta):
        height, width = x.shape[2:]
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        gradient = np.empty((delta.shape[1], x.shape[1], 3, 3), np.float32)
        for ky in range(3):
            for kx in range(3):
                window = padded[:, :, ky : ky + height, kx : kx + width]
                terms = delta[:, :, None] * window[:, None]  # (N, O, C, H, W)
                rows = terms.transpose(1, 2, 0, 3, 4).reshape(*gradient.shape[:2], -1)
                gradient[:, :, ky, kx] = np.cumsum(rows, axis=2, dtype=np.float32)[..., -1]
        return gradient


@network("Winograd F(2x2, 3x3)", HONEST)
class Winograd(numpy_cnn.Network):
    """Minimal filtering (Winograd 1980; Lavin and Gray 2016, arXiv:1509.09308), as cuDNN may."""

    B = np.float32([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    G = np.float32([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    A = np.float32([[1, 1, 1, 0], [0, 1, -1, -1]])

    def convolve(self, name, x, weight, bias):
        n, _, height, width = x.shape
        rows, columns = -(-height // 2), -(-width // 2)
        extra = ((0, 0), (0, 0), (1, 2 * rows - height + 1), (1, 2 * columns - width + 1))
        padded = np.pad(x, extra)
        tiles = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), axis=(2, 3))[
            :, :, ::2, ::2
        ]
        kernels = self.G @ weight @ self.G.T  # (O, C, 4, 4)
        images = self.B @ tiles @ self.B.T  # (N, C, rows, columns, 4, 4)
        products = np.einsum("ocab,ncyxab->noyxab", kernels, images, optimize=True)
        out = self.A @ products @ self.A.T  # (N, O, rows, columns, 2, 2)
        out = out.transpose(0, 1, 2, 4, 3, 5).reshape(n, len(weight), 2 * rows, 2 * columns)
        return out[:, :, :height, :width] + bias[:, None, None]
