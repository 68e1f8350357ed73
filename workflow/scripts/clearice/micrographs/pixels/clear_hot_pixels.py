"""Hot pixels that are clearly hot, whatever the detector: found and replaced by default.

hot_pixels.py replaces what lies beyond a threshold that somebody chose. Here nobody chose one, so
nothing that a specimen can make may be touched: neither an electron of a sparse count, nor the
edge of a gold bead, nor a crystal. What is found costs next to nothing where there is nothing to
find: the extremes of a block and the noise of a few of its rows.
"""

import math

import numpy as np

CLEAR_STDS = 20.0  # of the noise around it: 6 to 9 is what chance makes of 10^8 pixels
_FAR = 10.0  # times that: nothing in a specimen is so steep, so clusters of up to four go as well
_JUMPS = 4.0  # times the jumps between neighbours that 1 pixel in 1,000 exceeds: sparse counts
_JUMP_SHARE = 1e-3
_REACH, _LINE_PX = 3, 4  # 4 of the 7 pixels around one along a row or a column are a line
IMPOSSIBLE_STDS = 1e4  # connected pixels so far out are no picture
_SAMPLED_PX = 4096  # of a block, to know its noise to a few per cent
_PIECE_PX = 64
_ROUNDING = 1e-6  # relative: what float32 makes of the mean of equal pixels
_AROUND = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


class ClearHotPixels:
    """Replaces clearly hot pixels in rows that arrive in order, and counts what it finds.

    A pixel is hot where it lies further from the image around it than CLEAR_STDS standard
    deviations of the noise of its block, and further than four times the jumps between neighbours
    that 1 in 1,000 exceeds, from seven of its eight neighbours (so that pairs are found and edges
    are not), or ten times as far from their median; and if it is no part of a line of pixels so
    far out. A pixel that is NaN or infinite is as far as can be. It becomes the median of its
    neighbours. A block's upper neighbour is the last row of the block before it; its lower border,
    like that of the image, is mirrored.

    `count`: hot pixels; `not_finite`: those of them that were NaN or infinite; `first_not_finite`
    (row, column) and `last_not_finite` (row): of all such. `left`: pixels that are not finite and
    have no median either; they become 0, so that sums stay silent. `minimum`, `maximum`: of the
    finite pixels as they came. `impossible` pixels are beyond IMPOSSIBLE_STDS and stay, the first
    at `first_impossible` (row, column). `watch`, if it is set, is called with the rows of a block,
    the ys and xs of those that are far out and stay, and the number of the first row.
    """

    def __init__(self):
        self.watch = None
        self._start()

    def _start(self):
        self.count = self.not_finite = self.impossible = 0
        self.minimum, self.maximum = math.inf, -math.inf
        self.left = 0
        self.first_not_finite = self.last_not_finite = self.first_impossible = None
        self._first_row, self._above = 0, None

    def blocks(self, blocks):
        """Yield the rows of `blocks`, float32 (b, W), cleaned; a block is valid until the next."""
        self._start()
        for rows in blocks:
            last = rows[-1].copy()
            yield self._cleaned(rows)
            self._above = last
            self._first_row += len(rows)

    def _cleaned(self, rows):
        low, high = float(rows.min()), float(rows.max())
        location, spread = _level(rows)
        limit = CLEAR_STDS * spread
        if math.isfinite(low) and math.isfinite(high):  # NaN is its own minimum
            self._extend(low, high)
            if location - limit <= low and high <= location + limit:
                return rows
        else:
            finite = rows[np.isfinite(rows)]
            if finite.size:
                self._extend(float(finite.min()), float(finite.max()))
        return self._replaced(rows, location, limit)

    def _extend(self, low, high):
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)

    def _replaced(self, rows, location, limit):
        """Return a copy of `rows` without its hot pixels."""
        with np.errstate(invalid="ignore", over="ignore"):
            if math.isfinite(limit):
                ys, xs = np.nonzero(~(np.abs(rows - np.float32(location)) <= limit))
            else:
                ys, xs = np.nonzero(~np.isfinite(rows))
            if not len(ys):
                return rows
            values = _as_infinite(rows[ys, xs].astype(np.float64))
            around = np.sort(_as_infinite(self._neighbours(rows, ys, xs)), axis=0)
            medians = (around[3] + around[4]) / 2
            alone = _off_lines(rows.shape, ys, xs)
            hot = alone & _clearly_hot(values, around, medians, limit)
            if (hot & np.isfinite(values)).any():
                jumps = _largest_jumps(rows, ys[hot], xs[hot])
                limit = max(limit, _JUMPS * jumps)
                hot &= _clearly_hot(values, around, medians, limit)
            far = ~hot & (np.abs(values - location) > limit * IMPOSSIBLE_STDS / CLEAR_STDS)
        far &= np.isfinite(values)
        if far.any():
            if self.first_impossible is None:
                first = int(np.argmax(far))
                self.first_impossible = int(ys[first]) + self._first_row, int(xs[first])
            self.impossible += int(far.sum())
        if self.watch is not None and not hot.all():
            self.watch(rows, ys[~hot], xs[~hot], self._first_row)
        self.count += int(hot.sum())
        rows = rows.copy()
        rows[ys[hot], xs[hot]] = medians[hot]
        self._take_not_finite(rows, ys, xs, ~np.isfinite(values), hot)
        return rows

    def _take_not_finite(self, rows, ys, xs, not_finite, hot):
        if not_finite.any():
            places = np.nonzero(not_finite)[0]
            if self.first_not_finite is None:
                self.first_not_finite = int(ys[places[0]]) + self._first_row, int(xs[places[0]])
            self.last_not_finite = int(ys[places[-1]]) + self._first_row
            left = not_finite & ~hot
            rows[ys[left], xs[left]] = 0
            self.left += int(left.sum())
            self.not_finite += int((hot & not_finite).sum())

    def _neighbours(self, rows, ys, xs):
        """Return the eight neighbours of pixels, float64 (8, n)."""
        height, width = rows.shape
        found = np.empty((len(_AROUND), len(ys)))
        for into, (down, right) in zip(found, _AROUND, strict=True):
            y, x = ys + down, xs + right
            x = np.where(x < 0, min(1, width - 1), np.where(x >= width, max(width - 2, 0), x))
            y = np.where(y >= height, height - 2, y)  # -1 where there is one row: the row above
            into[:] = rows[np.where(y < 0, min(1, height - 1), y), x]
            if self._above is not None:
                into[y < 0] = self._above[x[y < 0]]
        return found


def _as_infinite(values):
    values[np.isnan(values)] = math.inf
    return values


def _clearly_hot(values, around, medians, limit):
    """Say which of `values` (n,) are hot; `around` (8, n) is sorted."""
    # A rule about edges needs a scale; without one only what is not finite is hot.
    single = (values - around[6] > limit) | (around[1] - values > limit)
    return (single | (np.abs(values - medians) > _FAR * limit) | np.isinf(values)) & np.isfinite(
        medians
    )


def _off_lines(shape, ys, xs):
    """Say which pixels are not part of a line of such, along a row or a column."""
    marked = np.zeros((shape[0] + 2 * _REACH, shape[1] + 2 * _REACH), bool)
    marked[ys + _REACH, xs + _REACH] = True
    reach = range(2 * _REACH + 1)
    along_row = sum(marked[ys + _REACH, xs + i].astype(np.int8) for i in reach)
    along_column = sum(marked[ys + i, xs + _REACH].astype(np.int8) for i in reach)
    return (along_row < _LINE_PX) & (along_column < _LINE_PX)


def _largest_jumps(rows, ys, xs):
    """Return what the jump from a pixel to the next exceeds in 1 of 1,000, `ys`, `xs` left out."""
    rows = rows.copy()
    rows[ys, xs] = np.nan
    jumps = np.abs(np.diff(rows, axis=1)).ravel()
    jumps = jumps[np.isfinite(jumps)]
    if not jumps.size:
        return 0.0
    rank = min(int(jumps.size * (1 - _JUMP_SHARE)), jumps.size - 1)
    return float(np.partition(jumps, rank)[rank])


def _level(rows):
    """Return the level and the noise of a block: medians over pieces of rows that vary.

    Of a few rows, or where none of their pieces varies of all; the noise is infinite where none
    does, so that nothing finite is hot in an image without noise.
    """
    wanted = -(-_SAMPLED_PX // rows.shape[1])
    for step in (max(1, len(rows) // wanted), 1):
        with np.errstate(invalid="ignore", over="ignore"):
            means, stds = _pieces(rows[::step])
            varied = (stds > _ROUNDING * np.abs(means)) & (stds < math.inf)
        if not varied.all():
            means, stds = means[varied], stds[varied]
        if len(stds):
            middle = len(stds) // 2
            for values in (means, stds):  # np.median costs ten times as much
                values.partition(middle)
            return float(means[middle]), float(stds[middle])
    return 0.0, math.inf


def _pieces(rows):
    piece_px = min(_PIECE_PX, rows.shape[1])
    pieces = rows[:, : rows.shape[1] // piece_px * piece_px].reshape(-1, piece_px)
    means = np.add.reduce(pieces, axis=1)
    means /= piece_px
    around = pieces - means[:, None]
    variances = np.einsum("ij,ij->i", around, around)
    variances /= piece_px
    return means, np.sqrt(variances, out=variances)
