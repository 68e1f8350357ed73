"""Patterns that a detector or a damaged file draws along rows and columns, and no specimen does.

Lines far from their neighbours (dead, hot), stripes that go through the whole image, and steps from
one line to the next, of level or noise: a quadrant with another gain, bytes that were lost. All
numbers are in standard deviations of the noise.
"""

import dataclasses
import math

import numpy as np

_SMOOTH_LINES = 9  # a line is compared with the median of so many
_END_LINES = 8  # of an image, of which nothing is said
_SIDE_LINES = 8  # on each side of a step
_SHARP = 0.25  # of a step: what the lines next to it may be off
_EVEN = 0.05  # of a step: what it may differ by along a line
_STANDARD_ERRORS = 6
_STEP_ERRORS = 4
_PIECE_NOISE_ERROR = 1 / math.sqrt(2 * 63)  # of the logarithm of a deviation of 64 pixels
_LEAST_PIECES = 4  # whose quartiles are taken
_AT_ONCE = 256  # windows: a copy of them is many times the profile
_SMALLEST_LINES = 64  # of fewer lines nothing is said


@dataclasses.dataclass(frozen=True)
class Lines:
    """Profiles of an image across its lines (rows, or columns), in noise levels.

    `parts` (k, n) are the means of the lines in each of k parts of their length, 4 or 2, or 0 where
    they are too short; NaN where nothing was measured. `standard_error` is that of one of them
    where noise is all there is.
    """

    parts: np.ndarray
    standard_error: float

    @property
    def _halves(self):
        return self.parts.reshape(2, -1, self.parts.shape[1]).mean(axis=1)

    def outliers(self, threshold):
        """Return (numbers of the lines that are off by more in both halves, how far the most)."""
        if not len(self.parts):
            return [], 0.0
        fine = _fine(self._halves)
        limit = threshold + _STANDARD_ERRORS * self.standard_error
        with np.errstate(invalid="ignore"):
            off = (fine.min(axis=0) > limit) | (fine.max(axis=0) < -limit)
        numbers = np.nonzero(off)[0]
        most = float(np.abs(fine.mean(axis=0)[numbers]).max()) if len(numbers) else 0.0
        return numbers.tolist(), most

    def stripe_amplitude(self, without=()):
        """Return the deviation of what lines keep over both halves of their length.

        0 where that is no more than chance. Lines in `without` don't count.
        """
        if not len(self.parts):
            return 0.0
        fine = _fine(self._halves)
        fine[:, list(without)] = np.nan
        fine = fine[:, np.isfinite(fine).all(axis=0)]
        if fine.shape[1] < _SMALLEST_LINES:
            return 0.0
        fine -= fine.mean(axis=1, keepdims=True)
        shared = float((fine[0] * fine[1]).mean())
        # Bartlett 1935: of two series without anything in common, each correlated in itself
        powers = np.square(np.abs(np.fft.fft(fine, axis=1))) / fine.shape[1]
        error = math.sqrt(float((powers[0] * powers[1]).mean()) / fine.shape[1])
        return math.sqrt(shared) if shared > _STANDARD_ERRORS * error else 0.0

    def step(self, smallest, side=_SIDE_LINES, gap=0):
        """Return (line, height) of the largest step of at least `smallest`, or None.

        It lies between the line and the one before, over the whole length of lines or over half of
        it. `side` lines on either side are compared, with `gap` lines between them.
        """
        slack = _STEP_ERRORS * self.standard_error
        k = len(self.parts)
        groups = [slice(0, k)] if k else []
        groups += [slice(0, 2), slice(2, 4)] if k == 4 else []
        for group in groups:
            found = _largest_step(self.parts[group], smallest + slack, slack, side, gap)
            if found:
                return found
        return None


def _fine(profiles):
    """Return profiles (k, n) less their running medians; NaN where the image ends.

    What cuts frequencies off joins the ends of an image: lines there ring.
    """
    half = _SMOOTH_LINES // 2
    if profiles.shape[1] <= 2 * _END_LINES:
        return np.full_like(profiles, np.nan)
    padded = np.pad(profiles, ((0, 0), (half, half)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _SMOOTH_LINES, axis=1)
    fine = np.empty_like(profiles)
    for first in range(0, profiles.shape[1], _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        middles = np.partition(windows[:, part], half, axis=2)[:, :, half]
        fine[:, part] = profiles[:, part] - middles  # NaN is the largest: few make no NaN of many
    fine[:, :_END_LINES] = fine[:, -_END_LINES:] = np.nan
    return fine


def _largest_step(profiles, smallest, slack, side, gap):
    """Return (place, height) of the largest step that all `profiles` (k, n) share, or None.

    Equally high in all, to 5 per cent and `slack`, and over from one line to the next.
    """
    far = side + gap
    places = profiles.shape[1] - far - side + 1
    if places < 1:
        return None
    before, after = profiles[:, side - 1 :][:, :places], profiles[:, far:][:, :places]
    with np.errstate(invalid="ignore"):
        steep = np.abs(after - before) >= (1 - 2 * _SHARP) * smallest
    found = None
    for i in np.nonzero(steep.all(axis=0))[0].tolist():  # of a picture there are none
        height = _sharp_step(profiles[:, i : i + side], profiles[:, i + far : i + far + side])
        if height is None or not np.abs(height).min() >= smallest:
            continue
        mean = float(height.mean())
        even = np.abs(height - mean) <= _EVEN * abs(mean) + slack
        if even.all() and (found is None or abs(mean) > abs(found[1])):
            found = i + side, mean
    return found


def _sharp_step(below, above):
    """Return the heights (k,) of a step between lines (k, n) and (k, n), None if it is blurred."""
    low, high = np.median(below, axis=1), np.median(above, axis=1)
    limit = _SHARP * np.abs(high - low)
    sharp = (np.abs(below[:, -1] - low) <= limit) & (np.abs(above[:, 0] - high) <= limit)
    return high - low if sharp.all() else None


def lines_of_rows(values, live, standard_error, least_pieces=1, quartile=None):
    """Return the Lines of the rows of an image from `values` of its pieces, (H, P).

    `live` (H, P) says where there is a picture; `standard_error` is that of the value of a piece.
    A part of a line has `least_pieces` at least. It is their mean, or their first or third quartile
    with `quartile` 1 or 3.
    """
    kept = live.mean(axis=0) > 0.5
    if not kept.all():
        values, live = values[:, kept], live[:, kept]
    count = next((n for n in (4, 2) if values.shape[1] >= n * least_pieces), 0)
    if not count:
        return Lines(np.empty((0, len(values))), math.inf)
    pieces = values.shape[1] // count
    starts = [round(i * (values.shape[1] - pieces) / (count - 1)) for i in range(count)]
    parts = np.empty((count, len(values)))
    for part, start in zip(parts, starts, strict=True):
        chosen = values[:, start : start + pieces]
        if quartile:
            rank = quartile * pieces // 4
            part[:] = np.partition(chosen, rank, axis=1)[:, rank]
        else:
            part[:] = chosen.mean(axis=1, dtype=np.float64)
    parts[:, ~live.all(axis=1)] = np.nan
    return Lines(parts, (1.4 if quartile else 1) * standard_error / math.sqrt(pieces))


def noise_step(noise, live, smallest, side=_SIDE_LINES):
    """Return (line, height) of the largest step of the noise from row to row, or None.

    `noise` (H, P) are the deviations of pieces; the step is that of their logarithm. The line
    itself may be mixed. Both quartiles of the pieces of a line must step there: an edge of the
    specimen that is not straight moves them in different places.
    """
    found = []
    for quartile in (None, 1, 3):  # the mean first: it costs least, and most images have no step
        lines = lines_of_rows(noise, live, _PIECE_NOISE_ERROR, _LEAST_PIECES, quartile)
        with np.errstate(divide="ignore", invalid="ignore"):
            lines = dataclasses.replace(lines, parts=np.log(lines.parts))
        found.append(lines.step(smallest, side, gap=1))
        if found[-1] is None:
            return None
    (place, height), (other_place, other_height) = found[1:]
    same = abs(place - other_place) <= 1 and abs(height - other_height) <= _SHARP * abs(height)
    return (place, height) if same else None


def lines_of_columns(columns, live_columns, scale):
    """Return the Lines of the columns (Columns); `live_columns` (W,) says where a picture is."""
    parts = columns.means / scale
    parts[:, ~live_columns] = np.nan
    return Lines(parts, 1 / math.sqrt(max(1, columns.counts.min())))
