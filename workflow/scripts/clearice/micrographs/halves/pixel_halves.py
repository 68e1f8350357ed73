"""Two images with independent noise from one: the diagonals of its blocks of 2 x 2 pixels.

Huang et al., Neighbor2Neighbor, CVPR 2021, with means of diagonals in place of random neighbours:
both halves then lie on the same grid, no half pixel apart. They have half the resolution, which
costs what lies above half the Nyquist frequency. Their noise is independent only if that of the
pixels is, as on a counting detector; one that integrates spreads an electron over neighbours.
model/half_resolution.py takes a micrograph apart in the same way and puts it together again.
"""

import numpy as np

from clearice.errors import InputError
from clearice.micrographs.checks import DEPENDENT_PIXELS, NEIGHBOUR_NOISE

PIXEL_CHECKS = NEIGHBOUR_NOISE.name, DEPENDENT_PIXELS.name


class PixelHalf:
    """An open micrograph seen through one diagonal of its 2 x 2 blocks, as a reader of its own.

    `diagonal` 0: upper left and lower right pixel, 1: the other two. A last odd row or column is
    left out.
    """

    def __init__(self, micrograph, diagonal):
        self._micrograph, self._diagonal = micrograph, diagonal
        self.path, self.warnings = micrograph.path, getattr(micrograph, "warnings", [])
        self.height_px, self.width_px = micrograph.height_px // 2, micrograph.width_px // 2
        size = getattr(micrograph, "pixel_size_angstrom", None)
        self.pixel_size_angstrom = None if size is None else 2 * size

    def blocks(self):
        """Yield (first row, float32 (b, W // 2)) in order; a block is valid until the next."""
        first, odd = 0, None
        for _, rows in self._micrograph.blocks():
            if odd is not None:
                rows = np.concatenate([odd, rows])
            even = len(rows) // 2 * 2
            odd = rows[even:].copy() if even < len(rows) else None
            if even:
                yield first, self._half(rows[:even])
                first += even // 2

    def read_rows(self, first, count):
        """Return rows `first` to `first + count`, float32 (count, W // 2)."""
        return self._half(self._micrograph.read_rows(2 * first, 2 * count))

    def _half(self, rows):
        """Return the mean of one diagonal, (2 b, W) -> (b, W // 2)."""
        width = 2 * self.width_px
        left, right = self._diagonal, 1 - self._diagonal
        half = rows[0::2, left:width:2] + rows[1::2, right:width:2]
        half *= np.float32(0.5)
        return half


def require_independent(correlation, path):
    """Return warnings about the noise of pixel halves; InputError if it is one noise.

    `correlation` is that of both above half of their Nyquist frequency (half_noise.py).
    """
    if correlation is None or abs(correlation) <= NEIGHBOUR_NOISE.threshold:
        return []
    if abs(correlation) > DEPENDENT_PIXELS.threshold:
        raise InputError(
            DEPENDENT_PIXELS.message,
            file=path,
            expected=f"a correlation of at most {DEPENDENT_PIXELS.threshold} between its pixel "
            "halves",
            found=f"{correlation:.3f}",
            advice="denoise with the pretrained network: clearice denoise, or patches.target auto",
        )
    words = {"value": correlation, "threshold": NEIGHBOUR_NOISE.threshold}
    return [NEIGHBOUR_NOISE.message.format(**words)]
