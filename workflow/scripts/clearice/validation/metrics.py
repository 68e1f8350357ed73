"""Numbers that compare two images: squared error, correlation, SNR and structural similarity.

An image is only compared with data that its network has not seen: the RAW other half or the
truth. Two denoised halves correlate at 1 for a network that outputs a constant.
"""

import math

import numpy as np

_SSIM_SIGMA_PX, _SSIM_RADIUS_PX = 1.5, 5  # the window of Wang et al., 11 x 11


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
    def variance_second(self):
        """Variance of the second image."""
        return self._second / self.count

    @property
    def covariance(self):
        """Covariance of the two."""
        return self._cross / self.count

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


def snr_db(correlation):
    """Return the signal-to-noise ratio in dB that a correlation with the truth stands for.

    It is -10 log10(1 - r^2): the variance of the truth over what is left of it after a linear
    fit to the image, so neither scale nor offset of the image matters. None where r is NaN or 1.
    """
    lost = 1 - correlation * correlation
    return -10 * math.log10(lost) if lost > 0 else None


class StructuralSimilarity:
    """Mean SSIM of two images, added window by window, -1..1.

    Wang, Bovik, Sheikh and Simoncelli 2004, IEEE Trans. Image Process. 13, 600: Gaussian weights
    of 1.5 px in 11 x 11 px, K1 = 0.01, K2 = 0.03. `span` is the range of the truth's values.
    """

    def __init__(self, span):
        self._c1, self._c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
        self._sum, self._count = 0.0, 0

    def add(self, image, truth):
        """Add two pieces (h, w) of at least 11 x 11 px; the centre of each 11 x 11 counts."""
        offset = truth.mean()  # float32 keeps its digits near zero only
        x, y = (np.asarray(i - offset, np.float32) for i in (image, truth))
        mean_x, mean_y = _blurred(x), _blurred(y)
        variance_x = _blurred(x * x) - mean_x * mean_x
        variance_y = _blurred(y * y) - mean_y * mean_y
        covariance = _blurred(x * y) - mean_x * mean_y
        mean_x, mean_y = mean_x + offset, mean_y + offset
        similarity = (2 * mean_x * mean_y + self._c1) * (2 * covariance + self._c2)
        similarity /= (mean_x**2 + mean_y**2 + self._c1) * (variance_x + variance_y + self._c2)
        self._sum += float(similarity.sum(dtype=np.float64))
        self._count += similarity.size

    @property
    def mean(self):
        """The mean over all pixels added, or None for none or for a constant truth."""
        return self._sum / self._count if self._count and self._c2 > 0 else None


def _blurred(image):
    """Blur (h, w) by the Gaussian of SSIM, where it fits: (h - 10, w - 10)."""
    offsets = np.arange(-_SSIM_RADIUS_PX, _SSIM_RADIUS_PX + 1)
    weights = np.exp(-0.5 * np.square(offsets / _SSIM_SIGMA_PX)).astype(np.float32)
    weights /= weights.sum()
    for axis in (0, 1):
        image = np.moveaxis(image, axis, 0)
        length = len(image) - 2 * _SSIM_RADIUS_PX
        image = sum(w * image[i : i + length] for i, w in enumerate(weights))
        image = np.moveaxis(image, 0, axis)
    return image
