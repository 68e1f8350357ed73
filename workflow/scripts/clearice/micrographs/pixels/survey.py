"""The first pass over a micrograph or a pair: its statistics, and whether it can be used at all."""

import dataclasses

import numpy as np

from clearice.errors import InputError, UnfinishedError
from clearice.micrographs.halves.fit import compare_halves
from clearice.micrographs.halves.pairs import PairMeasure, PairSurvey
from clearice.micrographs.normalisation import RowStatistics, Statistics
from clearice.micrographs.pixels.blank import BlankArea
from clearice.micrographs.pixels.clear_hot_pixels import ClearHotPixels
from clearice.micrographs.pixels.columns import Columns
from clearice.micrographs.pixels.foreign_bytes import TextFinder
from clearice.micrographs.pixels.verdict import PixelVerdict

_FLOAT16_MAX = 65504.0


@dataclasses.dataclass
class Survey:
    """Statistics of input and target half and of their difference.

    `target`, `difference` and `pair` are None without a target half. Of the input: `blank`, its
    BlankArea, `warnings`, and `hot_pixels`, the number of those that were
    replaced, and the hash of its stored pixels, if it was taken.
    """

    input: Statistics
    target: Statistics | None = None
    difference: Statistics | None = None
    pair: PairSurvey | None = None
    blank: BlankArea | None = None
    warnings: list = dataclasses.field(default_factory=list)
    hot_pixels: int = 0
    pixels_xxh3: str | None = None

    @property
    def correlation(self):
        """Correlation of the halves above half the Nyquist frequency, or None."""
        return None if self.pair is None else self.pair.noise_correlation

    @property
    def noise_floor(self):
        """Variance of the target's noise, in normalised units; None without halves.

        It is the mean squared error that a perfect denoiser has against the noisy target. With
        independent noise, var(difference) is the sum of both noise variances and var(target) -
        var(input) their difference. For equally noisy halves that is half the variance of their
        difference.
        """
        if self.difference is None:
            return None
        total = self.difference.std**2
        return (total + self.target.std**2 - self.input.std**2) / (2 * self.input.scale**2)


def survey_micrograph(
    blocks, path, shape, hot=None, before=None, dtype=None, numbers=None, keep=None
):
    """Return the Survey of one image; `blocks` yields its rows, float32 (b, W), in order.

    `shape` is (H, W). `hot` are the ClearHotPixels that clean what is cut and denoised, None where
    nothing does: here they are always replaced, so that a few pixels rule no number. `before` are
    the HotPixels that `blocks` come through, if any; `dtype` is that of a stored pixel, where it is
    known. The numbers of the checks go into the dict `numbers`. `keep`, if given, is called with
    the rows of each block as `hot` leaves them. Raises InputError for an image that cannot be used
    (checks.py).
    """
    replaces, hot = hot is not None, hot or ClearHotPixels()
    text = None if dtype is None else TextFinder(dtype)
    hot.watch = text and text.look
    columns = Columns(*shape)
    statistics = RowStatistics(columns)
    first_row = 0
    for rows in hot.blocks(blocks):
        if text is not None:
            text.look_in_bytes(rows, first_row)
        columns.add_values(rows)
        statistics.add(rows)
        if keep is not None:
            keep(rows)
        first_row += len(rows)
    hot.watch = None
    verdict = PixelVerdict(path, {} if numbers is None else numbers)
    verdict.judge_outliers(hot, shape[0] * shape[1], replaces, before)
    verdict.judge_foreign(hot, text)
    blank = verdict.judge_blank(statistics, columns)
    result = statistics.result(blank.counted_pieces())
    if not replaces:  # what is cut holds them
        result = dataclasses.replace(result, minimum=hot.minimum, maximum=hot.maximum)
    _require_picture(result, path)
    verdict.judge_patterns(statistics, columns, blank, result)
    _require_range(result, path)
    replaced = (hot.count if replaces else 0) + (before.count if before else 0)
    return Survey(result, blank=blank, warnings=verdict.warnings, hot_pixels=replaced)


def _require_picture(result, path):
    """Raise InputError for a constant image."""
    if not result.maximum > result.minimum:
        raise UnfinishedError(  # or room for one
            "a constant image",
            file=path,
            expected="pixels that differ",
            found=f"{result.minimum:g} everywhere",
            advice="make the micrograph again",
        )


def _require_range(result, path):
    """Raise InputError for an image that float32 cannot hold once it is normalised."""
    with np.errstate(over="ignore"):
        scale = np.float32(result.scale)
        extremes = np.float32([result.minimum - result.location, result.maximum - result.location])
    if not (scale > 0 and np.isfinite(extremes).all() and np.isfinite(extremes / scale).all()):
        raise InputError(
            "pixels that float32 cannot hold once they are normalised",
            file=path,
            expected="a noise level and distances from the median within float32",
            found=f"pixels of {result.minimum:g} to {result.maximum:g}, noise {result.scale:g}",
            advice="scale the micrograph, or make it again",
        )


def survey_difference(blocks, others, shape, scenes=True, live=None, *, robust=False):
    """Return Statistics of the difference of two images, and their PairSurvey.

    Both yield rows, float32 (b, W), in order; `shape` is (H, W), `scenes` as PairMeasure has it,
    `live` the pieces that count, bool (H, P), None for all; without `robust` or `live` location
    and scale are mean and standard deviation. Where a pixel is not finite the result
    means nothing (survey_micrograph tells).
    """
    difference = RowStatistics(keeps_pieces=robust or live is not None)
    pair = PairMeasure(*shape, scenes)
    with np.errstate(invalid="ignore", over="ignore"):
        for rows, other_rows in zip(blocks, others, strict=True):
            difference.add_difference(rows, other_rows)
            pair.add(rows, other_rows)
        return difference.result(live), pair.result()


def survey_warnings(survey, paths, dtype):
    """Return what about a surveyed micrograph deserves a warning.

    Raises InputError for halves that are one image, and for pixels that float16 cannot hold.
    """
    if dtype == "float16":
        _require_float16_range(survey, paths)
    return [] if survey.target is None else compare_halves(survey, paths)


def _require_float16_range(survey, paths):
    location, scale = survey.input.location, survey.input.scale
    for statistics, path in zip((survey.input, survey.target), paths, strict=False):
        furthest = max(location - statistics.minimum, statistics.maximum - location) / scale
        if not furthest < _FLOAT16_MAX:
            raise InputError(
                "a normalised pixel does not fit float16",
                file=path,
                expected=f"under {_FLOAT16_MAX:g} noise levels from the median",
                found=f"{furthest:g}",
                advice="use dataset.dtype float32, or for single pixels "
                "patches.hot_pixel_threshold: auto",
            )
