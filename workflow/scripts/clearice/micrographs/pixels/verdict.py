"""What the pixels of one micrograph say about it: the measured numbers, and their verdict."""

import math

import numpy as np

from clearice.errors import InputError, UnfinishedError
from clearice.micrographs.pixels import pixel_checks as checks
from clearice.micrographs.pixels.blank import find_blank
from clearice.micrographs.pixels.patterns import lines_of_columns, lines_of_rows, noise_step
from clearice.wording import listed

_PIECE_PX = 64
_SHOWN_LINES = 5


class PixelVerdict:
    """Puts numbers into the dict `values`, by name of a check, and words into `warnings`.

    A rejection is an InputError.
    """

    def __init__(self, path, values):
        self._path, self.values, self.warnings = path, values, []

    def _reject(self, check, advice, **facts):
        kind = UnfinishedError if check is checks.UNFINISHED_COPY else InputError
        raise kind(check.message.format(**facts), file=self._path, advice=advice)

    def _warn(self, check, **facts):
        self.warnings.append(check.message.format(threshold=check.threshold, **facts))

    def judge_outliers(self, hot, pixels, replaces, before=None):
        """Take in what ClearHotPixels found in an image of that many pixels.

        `replaces`: whether patches are cut from what it made; `before` are the HotPixels that have
        replaced some already.
        """
        cleaned = 0 if before is None else before.not_finite
        not_finite = hot.not_finite + hot.left + cleaned
        self.values["not_finite"] = not_finite / pixels
        self.values["hot_pixels"] = (hot.count - hot.not_finite) / pixels
        few = hot.left == 0 and not_finite <= checks.NOT_FINITE.threshold * pixels
        if not_finite and not (few and (replaces or hot.not_finite == 0)):
            seen = before if cleaned else hot
            row, column = seen.first_not_finite
            self._reject(
                checks.NOT_FINITE,
                "set patches.hot_pixel_threshold: auto, which replaces so few and single ones"
                if few
                else "make the micrograph again: they are too many, or touch one another",
                pixels=_pixels(not_finite),
                row=row,
                column=column,
                last_row=seen.last_not_finite,
            )
        if not_finite:
            self._warn(checks.REPLACED_NOT_FINITE, pixels=_pixels(not_finite))
        finite = hot.count - hot.not_finite
        if finite > checks.HOT_PIXELS.threshold * pixels:
            treatment = "replaced by the median of their neighbours (patches.hot_pixel_threshold)"
            if not replaces:
                treatment = "set patches.hot_pixel_threshold: auto, which replaces them"
            self._warn(checks.HOT_PIXELS, pixels=_pixels(finite), treatment=treatment)

    def judge_foreign(self, hot, text):
        """Take in what is no picture: far pixels that ClearHotPixels left, and a TextFinder."""
        self.values["impossible_values"] = hot.impossible
        if text is not None and text.text is not None:
            advice = "download or copy the file again: it holds what a server or a program said"
            self._reject(checks.TEXT_INSIDE, advice, row=text.row, text=text.text)
        if not hot.impossible:
            return
        row, column = hot.first_impossible
        facts = {"pixels": _pixels(hot.impossible), "row": row, "column": column}
        if hot.impossible >= checks.IMPOSSIBLE_VALUES.threshold:
            advice = "copy or make it again: other bytes than pixels lie there"
            self._reject(checks.IMPOSSIBLE_VALUES, advice, **facts)
        self._warn(checks.IMPOSSIBLE_CLUSTER, **facts)

    def judge_blank(self, statistics, columns):
        """Return the BlankArea of an image from its RowStatistics and Columns; judge it."""
        values, _, constant = statistics.pieces()
        piece_px, equal = statistics.piece_px, columns.equal_share
        blank = find_blank(values, constant, columns.constant, piece_px, equal)
        share = self.values["blank"] = blank.fraction
        tail = blank.tail_rows / blank.height_px
        self.values["mostly_blank"], self.values["unfinished_copy"] = share, tail
        if not blank and not blank.holes:
            return blank
        facts = {"percent": _percent(share), "place": blank.words()}
        if share < 1 and (tail >= checks.UNFINISHED_COPY.threshold or blank.holes):
            facts["place"] = facts["place"] or "a stretch within a row"
            advice = "copy the file again, and compare sums"
            self._reject(checks.UNFINISHED_COPY, advice, **facts)
        if checks.MOSTLY_BLANK.threshold <= share < 1:
            self._reject(checks.MOSTLY_BLANK, "make the micrograph again", **facts)
        if share >= checks.BLANK.threshold:
            question = " (an unfinished copy?)" if tail > 0.03 else ""
            self._warn(checks.BLANK, question=question, **facts)
        return blank

    def judge_patterns(self, statistics, columns, blank, level):
        """Take in lines and steps; `level` are the Statistics of the image."""
        means, stds, _ = statistics.pieces()
        live = blank.live_pieces()
        live_columns = _live_columns(blank, live)
        rows = lines_of_rows((means - level.location) / level.scale, live, 1 / 8)
        across = lines_of_columns(columns, live_columns, level.scale)
        self._judge_lines(rows, across, blank)
        self._judge_steps(rows, across, _noise_steps(stds, live))

    def _judge_lines(self, rows, across, blank):
        off, most, amplitude = [], 0.0, 0.0
        both = ("row", rows, blank.dead_rows), ("column", across, blank.dead_columns)
        for direction, lines, dead in both:
            numbers, furthest = lines.outliers(checks.DEAD_LINES.threshold)
            numbers = sorted({*numbers, *dead})
            if numbers:
                off.append(f"{direction}{'s' * (len(numbers) > 1)} {listed(numbers, _SHOWN_LINES)}")
                most = max(most, furthest)
            striped = lines.stripe_amplitude(without=numbers)
            if striped > checks.STRIPES.threshold:
                self._warn(checks.STRIPES, direction=f"{direction}s", value=striped)
            amplitude = max(amplitude, striped)
        self.values["dead_lines"], self.values["stripes"] = most, amplitude
        if off:
            self._warn(checks.DEAD_LINES, lines=" and ".join(off), value=most)

    def _judge_steps(self, rows, across, noise_steps):
        self.values |= dict.fromkeys(("noise_step", "lost_bytes", "level_step"), 0.0)
        for direction, step in noise_steps:
            if step is None:
                continue
            ratio = math.exp(min(abs(step[1]), 300))
            self.values["noise_step"] = max(self.values["noise_step"], ratio - 1)
            facts = {"line": step[0], "value": ratio}
            if direction == "row":
                self.values["lost_bytes"] = ratio - 1
            if self.values["lost_bytes"] >= checks.LOST_BYTES.threshold:
                self._reject(checks.LOST_BYTES, "copy or make the micrograph again", **facts)
            self._warn(checks.NOISE_STEP, direction=direction, **facts)
        for direction, lines in (("row", rows), ("column", across)):
            step = lines.step(checks.LEVEL_STEP.threshold)
            if step is not None:
                value = abs(step[1])
                self.values["level_step"] = max(self.values["level_step"], value)
                self._warn(checks.LEVEL_STEP, direction=direction, line=step[0], value=value)


def _noise_steps(stds, live):
    """Return the steps of the noise as (direction, (line, height) or None)."""
    live = live & (stds > 0)
    if live.mean() < 0.5:  # sparse counts: most pieces hold nothing
        return []
    smallest = math.log(1 + checks.NOISE_STEP.threshold)
    across = noise_step(stds.T, live.T, smallest, side=3)
    if across is not None:
        across = across[0] * _PIECE_PX, across[1]
    return [("row", noise_step(stds, live, smallest)), ("column", across)]


def _live_columns(blank, live):
    """Return the columns that hold a picture all the way, bool (W,)."""
    pieces = (live | blank.rows[:, None]).all(axis=0)
    columns = np.repeat(pieces, blank.piece_px)
    return np.pad(columns, (0, blank.width_px - len(columns)), constant_values=True) & (
        ~blank.columns
    )


def _pixels(count):
    return f"{count:,} pixels are" if count != 1 else "1 pixel is"


def _percent(share):
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
