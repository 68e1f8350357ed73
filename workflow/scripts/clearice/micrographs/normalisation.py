"""Mean and standard deviation of a micrograph, row by row, and the affine made of them.

Sums are float64 and are taken row by row, so that the result does not depend on how the image
was read (bands, blocks) nor on the number of cores.
"""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Population mean and standard deviation, smallest and largest value of all pixels."""

    mean: float
    std: float
    minimum: float
    maximum: float


class RowStatistics:
    """Accumulates Statistics over blocks of whole rows of one width (two-pass within a row)."""

    def __init__(self):
        self._means, self._squares = [], []  # one float64 array (rows,) a block
        self._minimum, self._maximum = math.inf, -math.inf
        self._width_px = None
        self._scratch = np.empty((0, 0))

    def add(self, rows):
        """Take in `rows`, float (b, W)."""
        wide = self._wide(rows)
        np.copyto(wide, rows)
        self._take(wide, rows.min(), rows.max())

    def add_difference(self, rows, others):
        """Take in `rows - others`, both float (b, W), subtracted in float64."""
        wide = self._wide(rows)
        np.copyto(wide, rows)
        wide -= others
        self._take(wide, wide.min(), wide.max())

    def _wide(self, rows):
        """Return float64 scratch of the shape of `rows`: a buffered cast would sum by blocks."""
        if self._scratch.shape[0] < rows.shape[0] or self._scratch.shape[1] != rows.shape[1]:
            self._scratch = np.empty(rows.shape)
        self._width_px = rows.shape[1]
        return self._scratch[: rows.shape[0]]

    def _take(self, wide, minimum, maximum):
        means = wide.mean(axis=1)
        wide -= means[:, None]
        np.square(wide, out=wide)
        self._means.append(means)
        self._squares.append(wide.sum(axis=1))
        self._minimum = min(self._minimum, float(minimum))
        self._maximum = max(self._maximum, float(maximum))

    def result(self):
        """Return the Statistics of every row taken in."""
        means, squares = np.concatenate(self._means), np.concatenate(self._squares)
        mean = means.mean()
        within = squares.sum() / (squares.size * self._width_px)
        between = np.square(means - mean).mean()
        std = math.sqrt(within + between)
        return Statistics(float(mean), std, self._minimum, self._maximum)


def normalise(rows, mean, std, out=None):
    """Return (rows - mean) / std as float32, computed in float32 with float32 mean and std."""
    out = np.subtract(rows, np.float32(mean), out=out, dtype=np.float32)
    out /= np.float32(std)
    return out
