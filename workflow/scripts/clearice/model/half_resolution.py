"""A network that was trained on pixel halves, for micrographs of full resolution."""

import math

import torch
from torch.nn.functional import conv2d, pad, pixel_shuffle

from clearice.model.contract import Network

# Cubic convolution (Keys, IEEE Trans. ASSP 29 (1981) 1153) a quarter of a pixel before and after.
_AFTER = (0.0, -0.0703125, 0.8671875, 0.2265625, -0.0234375)
_PHASES = (_AFTER[::-1], _AFTER)


class OnPixelHalves(Network):
    """(N, 1, H, W) float -> (N, 1, H, W): the mean of both denoised pixel halves, at full size.

    The halves are those of micrographs/halves/pixel_halves.py, on the scale that shards have: a
    mean of two pixels has 1 / sqrt(2) of their noise. The result holds nothing above half the
    Nyquist frequency.
    """

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.alignment_px, self.grid_px = 2 * network.alignment_px, 2 * network.grid_px
        self.receptive_radius_px = 2 * (network.receptive_radius_px + 2)  # cubic: two blocks
        phases = torch.tensor(_PHASES)
        kernels = torch.einsum("yi,xj->yxij", phases, phases).reshape(4, 1, 5, 5)
        self.register_buffer("kernels", kernels, persistent=False)

    def forward(self, x):  # (N, 1, H, W)
        return self.inside(x, (0, 0, 0, 0))

    def inside(self, x, margins):
        top, bottom, left, right = margins
        height, width = x.shape[-2] - top - bottom, x.shape[-1] - left - right
        x = pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2), "replicate")
        # More than what is seen: two blocks for the interpolation, whole cells of the network.
        cell = self.network.alignment_px
        rim = -(-2 // cell) * cell
        halves = [m // 2 - rim if m else 0 for m in margins]
        x = self._denoised(x, 0, halves) + self._denoised(x, 1, halves)
        x = pad(x * (math.sqrt(0.5) / 2), (2, 2, 2, 2), "replicate")
        x = pixel_shuffle(conv2d(x, self.kernels.to(x.dtype)), 2)
        first, second = (2 * rim if m else 0 for m in (top, left))
        return x[..., first : first + height, second : second + width]

    def _denoised(self, x, diagonal, margins):
        """Denoise the pixel half, (N, 1, H, W) -> (N, 1, H / 2, W / 2) less the margins."""
        half = x[..., 0::2, diagonal::2] + x[..., 1::2, 1 - diagonal :: 2]
        return self.network.inside(half * math.sqrt(0.5), margins).to(x.dtype)


def at_full_resolution(network, metadata):
    """Return the network that denoises micrographs, given what load_model returned."""
    return OnPixelHalves(network).eval() if metadata.get("resolution") == "half" else network
