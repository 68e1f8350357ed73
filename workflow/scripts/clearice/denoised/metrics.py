"""Compare micrographs: squared error, correlation and Fourier ring correlation, streamed.

A denoised half is only compared with data that its network has not seen: the RAW other half or
the truth. Two denoised halves correlate at 1 for a network that outputs a constant.
"""

import math

import numpy as np

from clearice.denoised.bands import overlapping_bands, plain_spans, window_origins
from clearice.denoised.spectra import RingSums
from clearice.numbers import finite

WINDOW_PX = 512  # of the Fourier ring correlation
BAND_PX = 64  # rows at a time for sums over pixels, so that their float64 copies stay small
PAIRS = (
    ("raw", "target"),
    ("denoised", "target"),
    ("raw", "truth"),
    ("denoised", "truth"),
    ("truth", "target"),  # the most that any denoiser could correlate with the target
)


class PairMoments:
    """Means, variances and covariance of two images, added piece by piece in float64.

    Pieces are merged by their means (Chan, Golub and LeVeque 1983, Am. Stat. 37, 242), so a
    large offset of the counts costs no digits.
    """

    def __init__(self):
        self.count = 0
        self.mean_first = self.mean_second = 0.0
        self._first = self._second = self._cross = 0.0  # sums of squared deviations

    def add(self, first, second):
        """Add two pieces of the same shape."""
        a = np.asarray(first, dtype=np.float64).ravel()
        b = np.asarray(second, dtype=np.float64).ravel()
        mean_a, mean_b = a.mean(), b.mean()
        total = self.count + a.size
        shift_a, shift_b = mean_a - self.mean_first, mean_b - self.mean_second
        weight = self.count * a.size / total
        a, b = a - mean_a, b - mean_b
        self._first += a @ a + shift_a * shift_a * weight
        self._second += b @ b + shift_b * shift_b * weight
        self._cross += a @ b + shift_a * shift_b * weight
        self.mean_first += shift_a * a.size / total
        self.mean_second += shift_b * a.size / total
        self.count = total

    @property
    def variance_first(self):
        """Variance of the first image (of the population, not of a sample)."""
        return self._first / self.count

    @property
    def mse(self):
        """Mean squared difference, in squared units of the images."""
        spread = self._first + self._second - 2 * self._cross
        return max(spread, 0.0) / self.count + (self.mean_first - self.mean_second) ** 2

    @property
    def correlation(self):
        """Pearson's correlation, -1..1; NaN if an image is constant."""
        product = math.sqrt(self._first * self._second)
        return self._cross / product if product > 0 else math.nan


class Range:
    """Least and greatest value of an image, added piece by piece."""

    def __init__(self):
        self.least, self.greatest = math.inf, -math.inf

    def add(self, piece):
        """Add a piece of any shape."""
        self.least = min(self.least, float(np.min(piece)))
        self.greatest = max(self.greatest, float(np.max(piece)))

    @property
    def span(self):
        """Greatest minus least value."""
        return self.greatest - self.least


def compare_micrographs(readers, window_px=WINDOW_PX):
    """Compare open micrographs of one size, in bounded memory.

    `readers` maps raw and denoised, and target and truth if they exist, to open readers.
    Returns {"window_px", "windows", "frequency_per_px", "statistics": {name: {mean, std}},
    "pairs": {"denoised_target": {mse, psnr_db, correlation, frc}, ...}}. PSNR takes the span of
    the truth as its peak and is None without a truth; undefined values are None.
    """
    pairs = [pair for pair in PAIRS if set(pair) <= set(readers)]
    moments = {pair: PairMoments() for pair in [*pairs, *((name, name) for name in readers)]}
    truth_range = Range()
    size = min(window_px, readers["raw"].height_px, readers["raw"].width_px)
    for bands in _bands(readers, plain_spans(readers["raw"].height_px, BAND_PX)):
        for (first, second), sums in moments.items():
            sums.add(bands[first], bands[second])
        if "truth" in bands:
            truth_range.add(bands["truth"])
    rings = _ring_sums(readers, pairs, size)
    results = {}
    for pair in pairs:
        frc = rings.correlation(*pair)
        results["_".join(pair)] = {
            "mse": moments[pair].mse,
            "psnr_db": psnr_db(moments[pair].mse, truth_range.span) if "truth" in pair else None,
            "correlation": finite(float(moments[pair].correlation)),
            "frc": [finite(round(float(value), 6)) for value in frc],
        }
    return {
        "window_px": size,
        "windows": rings.windows,
        "frequency_per_px": [round(float(f), 6) for f in rings.frequency_per_px],
        "statistics": {
            name: {
                "mean": moments[name, name].mean_first,
                "std": math.sqrt(moments[name, name].variance_first),
            }
            for name in readers
        },
        "pairs": results,
    }


def psnr_db(mse, span):
    """Return the peak signal-to-noise ratio in decibels; None for a constant or an equal image."""
    return 10 * math.log10(span * span / mse) if mse > 0 and span > 0 else None


def _bands(readers, spans):
    """Yield {name: rows} of each span, down all micrographs at once."""
    streams = [
        overlapping_bands((rows for _, rows in reader.blocks()), reader.width_px, spans)
        for reader in readers.values()
    ]
    for rows in zip(*streams, strict=True):
        yield dict(zip(readers, rows, strict=True))


def _ring_sums(readers, pairs, size):
    """Add square windows that cover the whole micrograph (the last ones overlap)."""
    rings = RingSums((size, size), pairs)
    named = {name: readers[name] for name in sorted({name for pair in pairs for name in pair})}
    spans = [(top, top + size) for top in window_origins(readers["raw"].height_px, size)]
    for rows in _bands(named, spans):
        for left in window_origins(readers["raw"].width_px, size):
            rings.add({name: image[:, left : left + size] for name, image in rows.items()})
    return rings
