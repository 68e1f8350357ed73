"""Statistics of a micrograph, row by row, and the affine made of them.

Sums are float64 and are taken row by row, so that the result does not depend on how the image
was read (bands, blocks) nor on the number of cores.

The affine takes a robust location and scale: medians over pieces of rows. Mean and standard
deviation of a micrograph with one dark crystal are those of the crystal, and its particles would
vanish in a flat field. Blank areas (blank.py) count for nothing.
"""

import dataclasses
import math

import numpy as np

PIECE_PX = 64  # of a row: short enough for a slow background, long enough for correlated noise
_EQUAL = 1e-12  # relative: what float64 makes of the spread of equal pixels


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What is known of all pixels of an image.

    Population mean and standard deviation, smallest and largest value; `location` and `scale`:
    the medians of the means and of the standard deviations of pieces of PIECE_PX pixels.
    """

    mean: float
    std: float
    minimum: float
    maximum: float
    location: float
    scale: float


class RowStatistics:
    """Accumulates Statistics over blocks of whole rows of one width (two-pass within a row).

    `columns`, if given, sees each block with the mean of each row taken off (columns.py). Without
    `keeps_pieces` location and scale are mean and standard deviation: pieces of a tall image take
    memory.
    """

    def __init__(self, columns=None, *, keeps_pieces=True):
        self._columns, self._keeps_pieces = columns, keeps_pieces
        self._means, self._squares = [], []  # per block, float64 (rows,)
        self._piece_means, self._piece_stds = [], []  # per block, float32 (rows, pieces)
        self._piece_constant = []  # per block, bool (rows, pieces)
        self._minimum, self._maximum = math.inf, -math.inf
        self._width_px = None
        self._scratch = np.empty((0, 0))

    def add(self, rows):
        """Take in `rows`, float (b, W)."""
        wide = self._wide(rows)
        np.copyto(wide, rows)
        self._take(wide, rows.min(), rows.max(), rows)

    def add_difference(self, rows, others):
        """Take in `rows - others`, both float (b, W), subtracted in float64."""
        wide = self._wide(rows)
        np.copyto(wide, rows)
        wide -= others
        self._take(wide, wide.min(), wide.max())

    def add_measured(self, means, squares, minimum, maximum, width_px):
        """Take in rows whose pieces are not kept, by their numbers.

        float64 (b,): their means, and the sums of the squared deviations from them.
        """
        self._width_px = width_px
        self._take_rows(means, squares, minimum, maximum)

    def _take_rows(self, means, squares, minimum, maximum):
        self._means.append(means)
        self._squares.append(squares)
        self._minimum = min(self._minimum, float(minimum))
        self._maximum = max(self._maximum, float(maximum))

    def _wide(self, rows):
        """Return float64 scratch of the shape of `rows`: a buffered cast would sum by blocks."""
        if self._scratch.shape[0] < rows.shape[0] or self._scratch.shape[1] != rows.shape[1]:
            self._scratch = np.empty(rows.shape)
        self._width_px = rows.shape[1]
        return self._scratch[: rows.shape[0]]

    def _take(self, wide, minimum, maximum, rows=None):
        means = wide.mean(axis=1)
        wide -= means[:, None]
        if self._columns is not None:
            self._columns.add(wide)
        piece_px = min(PIECE_PX, wide.shape[1])
        whole = wide[:, : wide.shape[1] // piece_px * piece_px]  # (b, pieces * piece_px)
        pieces, rest = whole.reshape(len(wide), -1, piece_px), wide[:, whole.shape[1] :]
        # half the time of sum, square and sum: each pixel is read twice and never written
        sums = np.einsum("bpk->bp", pieces)
        total = np.einsum("bpk,bpk->bp", pieces, pieces)
        spread = total - sums * sums / piece_px
        equal = spread <= _EQUAL * total
        if equal.any():  # and not only nearly so, or beside a pixel of 10^38
            stored = pieces if rows is None else rows[:, : whole.shape[1]].reshape(pieces.shape)
            stored = stored[equal]
            equal[equal] = (stored == stored[:, :1]).all(axis=1)
            spread[equal] = 0
        if self._keeps_pieces:
            self._piece_constant.append(equal)
            stds = np.sqrt(np.maximum(spread, 0) / max(piece_px - 1, 1))
            self._piece_means.append((sums / piece_px + means[:, None]).astype(np.float32))
            self._piece_stds.append(stds.astype(np.float32))
        squares = total.sum(axis=1) + np.einsum("bk,bk->b", rest, rest)
        self._take_rows(means, squares, minimum, maximum)

    @property
    def piece_px(self):
        """Number of pixels of a piece."""
        return min(PIECE_PX, self._width_px)

    def pieces(self):
        """Return the means and standard deviations of all pieces, and which hold one value.

        float32, float32 and bool (H, P).
        """
        parts = self._piece_means, self._piece_stds, self._piece_constant
        for part in parts:
            part[:] = [np.concatenate(part)]
        return tuple(part[0] for part in parts)

    def result(self, live=None):
        """Return the Statistics of every row taken in, or of the `live` pieces, bool (H, P)."""
        if not self._keeps_pieces:
            mean, std = self._of_rows()
            return Statistics(mean, std, self._minimum, self._maximum, mean, std)
        piece_means, piece_stds, _ = self.pieces()
        if live is None:
            mean, std = self._of_rows()
        else:
            piece_means, piece_stds = piece_means[live], piece_stds[live]
            mean, std = _of_pieces(piece_means, piece_stds, self.piece_px)
        location, scale = median(piece_means), median(piece_stds)
        # More than half of the pieces are constant (a mask, sparse counts): no noise to measure.
        scale = scale if scale > 0 else std
        return Statistics(mean, std, self._minimum, self._maximum, location, scale)

    def _of_rows(self):
        means, squares = np.concatenate(self._means), np.concatenate(self._squares)
        mean = means.mean()
        within = squares.sum() / (squares.size * self._width_px)
        between = np.square(means - mean).mean()
        return float(mean), math.sqrt(within + between)


def median(values):
    """Return the median of a non-empty array: what np.median returns, in a fifth of the time."""
    values = values.flatten()
    half = len(values) // 2
    values.partition(half)
    middle, most = values[half], values[half:].max()
    if most != most:  # NaN is the largest of all
        return math.nan
    if len(values) % 2 == 0:
        middle = np.mean([values[:half].max(), middle], dtype=values.dtype)
    return float(middle)


def _of_pieces(means, stds, piece_px):
    """Return mean and population standard deviation of all pixels of pieces, (n,) each."""
    mean = means.mean(dtype=np.float64)
    within = np.square(stds, dtype=np.float64).mean() * (piece_px - 1) / piece_px
    between = np.square(means - mean, dtype=np.float64).mean()
    return float(mean), math.sqrt(within + between)


def normalise(rows, location, scale, out=None):
    """Return (rows - location) / scale as float32, computed in float32."""
    out = np.subtract(rows, np.float32(location), out=out, dtype=np.float32)
    out /= np.float32(scale)
    return out
