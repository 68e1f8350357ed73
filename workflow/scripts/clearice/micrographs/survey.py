"""The first pass over a micrograph or a pair: its statistics, and whether it can be used at all."""

import dataclasses
import math

import numpy as np

from clearice.errors import InputError
from clearice.micrographs.halves import compare_halves
from clearice.micrographs.normalisation import RowStatistics, Statistics
from clearice.micrographs.pairs import PairMeasure, PairSurvey

_FLOAT16_MAX = 65504.0


@dataclasses.dataclass
class Survey:
    """Statistics of input and target half and of their difference.

    `target`, `difference` and `pair` are None without a target half.
    """

    input: Statistics
    target: Statistics | None = None
    difference: Statistics | None = None
    pair: PairSurvey | None = None

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


def survey_micrograph(blocks, path):
    """Return the Survey of one image; `blocks` yields its rows, float32 (b, W), in order.

    Raises InputError for pixels that are not finite and for a constant image.
    """
    statistics, finite = RowStatistics(), FiniteRows(path)
    for rows in blocks:
        finite.check(rows)
        statistics.add(rows)
    finite.require()
    result = statistics.result()
    if not result.maximum > result.minimum:
        raise InputError(
            "a constant image",
            file=path,
            expected="pixels that differ",
            found=f"{result.minimum:g} everywhere",
            advice="make the micrograph again",
        )
    with np.errstate(over="ignore"):
        scale = np.float32(result.scale)
        extremes = np.float32([result.minimum - result.location, result.maximum - result.location])
    if not (scale > 0 and np.isfinite(extremes).all() and np.isfinite(extremes / scale).all()):
        raise InputError(
            "pixels that float32 cannot hold once they are normalised",
            file=path,
            expected="a noise level and distances from the median within float32",
            found=f"pixels of {result.minimum:g} to {result.maximum:g}, noise {result.scale:g}",
            advice="scale the micrograph, or set patches.hot_pixel_threshold",
        )
    return Survey(result)


def survey_difference(blocks, others, shape, scenes=True):
    """Return Statistics of the difference of two images, and their PairSurvey.

    Both yield rows, float32 (b, W), in order; `shape` is (H, W), `scenes` as PairMeasure has it.
    Where a pixel is not finite the result means nothing (survey_micrograph tells).
    """
    difference, pair = RowStatistics(), PairMeasure(*shape, scenes)
    with np.errstate(invalid="ignore", over="ignore"):
        for rows, other_rows in zip(blocks, others, strict=True):
            difference.add_difference(rows, other_rows)
            pair.add(rows, other_rows)
        return difference.result(), pair.result()


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
                advice="use dataset.dtype float32, or set patches.hot_pixel_threshold",
            )


class FiniteRows:
    """Counts pixels that are NaN or infinite, and remembers the first."""

    def __init__(self, path):
        self._path, self._count, self._first, self._rows = path, 0, None, 0

    def check(self, rows):
        """Take in the next rows; they are made finite in place so that sums stay silent."""
        if not (math.isfinite(rows.min()) and math.isfinite(rows.max())):  # NaN is its own minimum
            bad = ~np.isfinite(rows)
            if self._first is None:
                y, x = np.unravel_index(bad.argmax(), bad.shape)
                self._first = int(y) + self._rows, int(x)
            self._count += int(bad.sum())
            rows[bad] = 0
        self._rows += len(rows)

    def require(self):
        """Raise InputError if any pixel was not finite."""
        if self._count:
            y, x = self._first
            raise InputError(
                f"{self._count} pixels are NaN or infinite, the first at row {y}, column {x}",
                file=self._path,
                expected="finite pixels",
                advice="make the micrograph again: nothing here can know what they were",
            )
