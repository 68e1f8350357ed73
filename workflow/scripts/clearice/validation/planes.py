"""Sums over windows, kept per Fourier term, and the null tests that are made of them.

They say what a denoised micrograph shares with independent data of the same place and of other
places, and whether the grid of the network shows.
"""

import math
from statistics import NormalDist

import numpy as np

from clearice.validation.null_tests import FALSE_ALARM_RATE, SLOW_RINGS, not_measured, result

LARGEST_SLOPE_ERROR = 0.15
LARGEST_GRID_AMPLITUDE = 0.01
OTHER_PLACES = 200  # shifts of the shuffled pairs
# A Hann taper t makes neighbouring Fourier terms correlate. That raises the variance of a sum over
# pixels by n sum(t^4) / sum(t^2)^2 = 35/18 along each of the two axes, so the standard deviation by
# 35/18. It does not raise that of shifted images, whose tapers overlap less.
_TAPER_SPREAD = 35 / 18


class CrossPlane:
    """Sums over windows for correlations of f(E) with `judge`, here and at other places.

    The judge is target (raw O) or truth. Call with the spectra of each window. Periods of more
    than a quarter of a window are left out: a background that the whole field shares correlates
    everywhere.
    """

    def __init__(self, shape, judge="target"):
        self._shape, self._judge = shape, judge
        y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
        self._fine = np.hypot(y, x) * min(shape) >= SLOW_RINGS
        self._cross = np.zeros(self._fine.shape, complex)
        self._product = np.zeros(self._fine.shape)  # of powers, for the scatter of chance
        self._denoised = self._target = 0.0
        self._twice = np.full(self._fine.shape, 2.0)
        self._twice[:, 0] = 1.0
        if shape[1] % 2 == 0:
            self._twice[:, -1] = 1.0

    def __call__(self, spectra):
        denoised, target = (spectra[n] * self._fine for n in ("denoised", self._judge))
        powers = np.square(np.abs(denoised)), np.square(np.abs(target))
        self._cross += denoised * np.conj(target)
        self._product += powers[0] * powers[1]
        self._denoised += float((powers[0] * self._twice).sum())
        self._target += float((powers[1] * self._twice).sum())

    def shuffled_test(self, seed=0):
        """f(E) must not correlate with raw O of other places.

        Shifts are cyclic within windows and at least a quarter of a window long. Under chance a
        correlation scatters as sum |F|^2 |O|^2 over (sum |F|^2)(sum |O|^2), summed over Fourier
        terms (Bartlett 1935, J. R. Stat. Soc. 98, 536); the threshold is the two-sided quantile
        for the largest of OTHER_PLACES (union bound).
        """
        if not self._denoised * self._target > 0:
            return not_measured("shuffled pairs", "the output is constant")
        product = math.sqrt(self._denoised * self._target)
        size = self._shape[0] * self._shape[1]
        correlations = np.fft.irfft2(self._cross, s=self._shape) * size / product
        scatter = math.sqrt((self._product * self._twice).sum()) / product
        generator = np.random.default_rng(seed)
        shifts = [generator.integers(n // 4, n - n // 4, OTHER_PLACES) for n in self._shape]
        largest = float(np.abs(correlations[shifts[0], shifts[1]]).max())
        z = NormalDist().inv_cdf(1 - FALSE_ALARM_RATE / (2 * OTHER_PLACES))
        return result(
            "shuffled pairs",
            largest,
            z * scatter,
            (
                "it correlates with the other half at the same place only",
                "it correlates with other places of the other half: a pattern that both share",
            ),
            same_place=float(correlations[0, 0]),
            places=OTHER_PLACES,
            false_alarm_rate=FALSE_ALARM_RATE,
        )

    def calibration_test(self):
        """The slope of raw O regressed on f(E) must be 1.

        For the best estimate the residual O - f(E) does not correlate with f(E). It is measured
        with the independent half: with its own half E even the perfect filter's residual does.
        The sampling error of the slope is added to the threshold.
        """
        if not self._denoised > 0:
            return not_measured("calibration", "the output is constant") | {
                "passed": False,
                "verdict": "the output is constant: it has no slope",
            }
        slope = float((self._cross.real * self._twice).sum()) / self._denoised
        scatter = math.sqrt((self._product * self._twice).sum()) / self._denoised
        scatter *= _TAPER_SPREAD
        z = NormalDist().inv_cdf(1 - FALSE_ALARM_RATE / 2)
        direction = "too little" if slope > 1 else "too much"
        return result(
            "calibration",
            abs(slope - 1),
            LARGEST_SLOPE_ERROR + z * scatter,
            (
                "the residual does not correlate with the result",
                f"the residual correlates with the result: it draws {direction} contrast",
            ),
            slope=slope,
            slope_standard_error=scatter,
            false_alarm_rate=FALSE_ALARM_RATE,
        )


class GridPlane:
    """Sums over windows for marks of a network's grid of `period_px` (4, or 8 for pixel halves).

    Call with the spectra of each window. Windows begin at multiples of 8 px and have such sides, so
    a grid adds up in phase and anything else does not.
    """

    NEIGHBOURS = 4  # terms to each side; the nearest hold what the taper leaks

    def __init__(self, shape, period_px=4):
        self._shape, self._period_px = shape, period_px
        self._sum = np.zeros((shape[0], shape[1] // 2 + 1), complex)
        self._windows, self._power = 0, 0.0

    def __call__(self, spectra):
        self._sum += spectra["denoised"]
        self._power += float(np.square(np.abs(spectra["denoised"])).sum()) * 2
        self._windows += 1

    def grid_test(self):
        """No pattern of the grid's period may show: above chance, and above 1 % of the result.

        Chance is the median power of neighbouring terms: a power of chance is exponentially
        distributed. The number is the root mean square of the pattern that the significant terms
        make, as a fraction of the standard deviation of the result.
        """
        if not self._power > 0:
            return not_measured("grid", "the output is constant")
        period = self._period_px
        step_y, step_x = (n // period for n in self._shape)
        down, right = range(period), range(period // 2 + 1)
        terms = [(a * step_y, b * step_x) for a in down for b in right if (a, b) != (0, 0)]
        limit = -math.log(FALSE_ALARM_RATE / len(terms))
        energy, strongest = 0.0, 0.0
        for y, x in terms:
            ratio, above = self._ratio(y, x)
            strongest = max(strongest, float(ratio))
            if ratio > limit:
                energy += above * (
                    2 if 0 < x < self._shape[1] / 2 else 1
                )  # rfft2 leaves out the term at -x
        # The taper t lowers a periodic pattern by sum(t)^2 / n and everything by sum(t^2); for a
        # Hann taper in two dimensions the ratio of the two is 4 / 9.
        fraction = 9 / 4 * energy / (self._windows * self._power)
        return result(
            "grid",
            math.sqrt(fraction),
            LARGEST_GRID_AMPLITUDE,
            (
                f"no pattern of period {period} shows",
                f"a pattern of period {period} shows: the grid of the network",
            ),
            strongest_ratio=strongest,
            significant_above=limit,
            false_alarm_rate=FALSE_ALARM_RATE,
        )

    def _ratio(self, y, x):
        """Return a term's power over its chance, and the power above chance."""
        reach = range(-self.NEIGHBOURS, self.NEIGHBOURS + 1)
        around = [(y + j, x + i) for j in reach for i in reach if max(abs(j), abs(i)) > 1]
        height, columns = self._sum.shape
        values = [abs(self._sum[j % height, i]) ** 2 for j, i in around if 0 <= i < columns]
        chance = float(np.median(values)) / math.log(2)
        power = abs(self._sum[y % height, x]) ** 2
        return (power / chance if chance > 0 else math.inf), max(power - chance, 0.0)
