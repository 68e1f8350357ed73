"""Hot pixels: pixels far from the median of their eight neighbours are replaced by it."""

import math

import numpy as np

_SAMPLED_ROWS = 64
_PIECE_ROWS = 8  # cleaned at a time: temporaries stay in the cache
_MAD_TO_STD = 1.4826  # of a Gaussian
_NEIGHBOURS = [(y, x) for y in (0, 1, 2) for x in (0, 1, 2) if (y, x) != (1, 1)]


def local_std(micrograph):
    """Return the robust standard deviation of pixel minus median of neighbours, for `micrograph`.

    1.4826 times the median absolute deviation over 64 rows spread evenly over the image; the
    standard deviation where more than half of the differences are equal (sparse counts);
    infinite where all are, so that nothing is hot in an image without noise.
    """
    height_px = micrograph.height_px
    count = min(_SAMPLED_ROWS, height_px - 2)
    differences = []
    for row in np.linspace(1, height_px - 2, count).round().astype(int).tolist():
        rows = micrograph.read_rows(row - 1, 3)
        with np.errstate(invalid="ignore"):
            differences.append(rows[1, 1:-1] - _medians(rows)[0])
    differences = np.concatenate(differences)
    differences = differences[np.isfinite(differences)]
    if not differences.size:
        return math.inf
    spread = np.median(np.abs(differences - np.median(differences)))
    return float(_MAD_TO_STD * spread) or float(differences.std(dtype=np.float64)) or math.inf


def _medians(rows):
    """Return the median of the eight neighbours of inner pixels, (b - 2, W - 2)."""
    height, width = rows.shape[0] - 2, rows.shape[1] - 2
    around = np.stack([rows[y : y + height, x : x + width] for y, x in _NEIGHBOURS])
    return np.median(around, axis=0)


class HotPixels:
    """Replaces hot pixels in rows that arrive in order; `count` is how many there were.

    `not_finite` of them were NaN or infinite, the first at `first_not_finite` (row, column), the
    last in row `last_not_finite`. A pixel is hot where it differs from the median of its eight
    neighbours (the image mirrored at its border, edge not repeated) by more than `limit`;
    neighbours are the pixels as they were before any replacement. NaN counts as infinite.
    """

    def __init__(self, limit, height_px):
        self.count = self.not_finite = 0
        self.first_not_finite = self.last_not_finite = None
        self._limit, self._height_px = np.float32(limit), height_px

    def blocks(self, blocks):
        """Yield the rows of `blocks`, float32 (b, W), cleaned, one row later than they come."""
        self.count = self.not_finite = arrived = 0
        self.first_not_finite = self.last_not_finite = None
        window = None  # rows not yet cleaned, the row above them first
        for rows in blocks:
            if not (math.isfinite(rows.max()) and math.isfinite(rows.min())):
                self._see_not_finite(rows, arrived)
                rows = np.where(np.isnan(rows), np.float32(np.inf), rows)
            arrived += len(rows)
            if window is None:
                if len(rows) < 2 and arrived < self._height_px:
                    raise ValueError("the first block must hold two rows")
                window = rows[1:2]
            window = np.concatenate([window, rows])
            if arrived == self._height_px:
                window = np.concatenate([window, window[-2:-1]])
            if len(window) > 2:
                yield self._clean(window)
                window = window[-2:].copy()

    def _see_not_finite(self, rows, first_row):
        ys, xs = np.nonzero(~np.isfinite(rows))
        if self.first_not_finite is None:
            self.first_not_finite = first_row + int(ys[0]), int(xs[0])
        self.last_not_finite = first_row + int(ys[-1])

    def _clean(self, window):
        """Return the inner rows of `window` (b + 2, W), cleaned."""
        rows = window[1:-1].copy()
        for top in range(0, len(rows), _PIECE_ROWS):
            piece = window[top : top + _PIECE_ROWS + 2]
            self._replace(rows[top : top + _PIECE_ROWS], np.pad(piece, ((0, 0), (1, 1)), "reflect"))
        return rows

    def _replace(self, rows, padded):
        """Replace the hot pixels of `rows` (b, W) in place; `padded` is (b + 2, W + 2)."""
        ys, xs = self._candidates(padded)
        if not len(ys):
            return
        with np.errstate(invalid="ignore"):
            medians = np.median([padded[ys + y, xs + x] for y, x in _NEIGHBOURS], axis=0)
            hot = np.abs(rows[ys, xs] - medians) > self._limit
        self.not_finite += int((hot & np.isinf(rows[ys, xs])).sum())
        rows[ys[hot], xs[hot]] = medians[hot]
        self.count += int(hot.sum())

    def _candidates(self, padded):
        """Return (ys, xs) of pixels further than the limit from the least or largest neighbour.

        The median lies between the two, so no hot pixel is missed and few medians are taken.
        """
        low, high = _extremes(padded, np.minimum), _extremes(padded, np.maximum)
        rows = padded[1:-1, 1:-1]
        with np.errstate(invalid="ignore"):
            return np.nonzero((rows - low > self._limit) | (high - rows > self._limit))


def _extremes(padded, pick):
    """Return the extreme of each 3 x 3 box, (b, W); the centre cannot hide a hot pixel's fault."""
    across = pick(pick(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    return pick(pick(across[:-2], across[1:-1]), across[2:])
