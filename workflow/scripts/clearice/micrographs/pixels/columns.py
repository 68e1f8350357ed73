"""Columns of an image, from rows that arrive in order: their means, and which hold one value."""

import numpy as np

QUARTERS = 4  # a column's mean is kept for each: what a detector makes goes on, a specimen doesn't
_EVERY = 4  # row of a tall image: a quarter of the work, and means still known to 0.06 noise levels
_TALL_PX = 1024
_COMPARED_ROWS = 4  # of a block, whose neighbouring pixels are compared


class Columns:
    """Accumulates over the rows of one image of that height and width.

    `means` is float64 (QUARTERS, W), of the rows less their own means; `counts` (QUARTERS,) their
    numbers of rows; `constant` (W,) says which columns hold one value; `equal_share` is the share
    of neighbouring pixels that are equal, the median over some rows: 0 for a measurement in floats.
    """

    def __init__(self, height_px, width_px):
        self._height_px, self._width_px = height_px, width_px
        self._sums = np.zeros((QUARTERS, width_px))
        self.counts = np.zeros(QUARTERS, int)
        self._every = _EVERY if height_px >= _TALL_PX else 1
        self._row = self._raw_row = 0
        self._first, self._candidates = None, np.arange(width_px)
        self._equal = []

    def add(self, rows):
        """Take in the next rows less their means, float64 (b, W)."""
        numbers = np.arange(-self._row % self._every, len(rows), self._every)
        quarters = (numbers + self._row) * QUARTERS // self._height_px
        for quarter in set(quarters.tolist()):
            chosen = numbers[quarters == quarter]
            part = rows[chosen[0] : chosen[-1] + 1 : self._every]
            self._sums[quarter] += part.sum(axis=0)
            self.counts[quarter] += len(part)
        self._row += len(rows)

    def add_values(self, rows):
        """Take in the next rows as they are, float32 (b, W)."""
        if self._first is None:
            self._first = rows[0].copy()
        for part in (rows[:2], rows[2:]):  # after two rows of a picture few are left
            if len(self._candidates) and len(part):
                same = part[:, self._candidates] == self._first[self._candidates]
                self._candidates = self._candidates[same.all(axis=0)]
        lines = rows[:: max(1, len(rows) // _COMPARED_ROWS)]
        if lines.shape[1] > 1:
            shares = (lines[:, 1:] == lines[:, :-1]).mean(axis=1)
            self._equal += shares[shares < 1].tolist()  # a line of one value is no picture

    @property
    def means(self):
        """Means of columns by quarter of the image."""
        return self._sums / np.maximum(self.counts, 1)[:, None]

    @property
    def constant(self):
        """Which columns hold one value from top to bottom, bool (W,)."""
        constant = np.zeros(self._width_px, bool)
        constant[self._candidates] = True
        return constant

    @property
    def equal_share(self):
        """Share of neighbouring pixels that are equal."""
        return float(np.median(self._equal)) if self._equal else 0.0
