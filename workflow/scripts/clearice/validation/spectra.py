"""Fourier ring correlation and radial power spectra of images.

Ring k holds the spatial frequencies that round to k / S cycles per pixel, where S is the shorter
side. Curves run from 0 to S // 2 (the Nyquist frequency, 0.5 cycles per pixel); sums over pixels
need the corners beyond it as well, and get them from `corners=True`.
"""

import numpy as np


class RingSums:
    """Ring sums of power and of cross power over any number of windows of one shape.

    The correlation is the ratio of the sums over all windows, which weights each Fourier term
    equally. The mean of the ratios of many small windows would be biased where a ring has few
    terms. It needs the memory of a few windows, however many are added.
    """

    def __init__(self, shape, pairs):
        """`shape` is (height_px, width_px) of a window; `pairs` name the images to correlate."""
        self.pairs = [tuple(pair) for pair in pairs]
        self.windows = 0
        self._taper = _hann(shape[0])[:, None] * _hann(shape[1])[None, :]  # (H, W)
        self._ring, self._multiplicity = _rings(*shape)
        self._size, self._rings = min(shape), int(self._ring.max()) + 1
        self._power = {name: self._zeros() for pair in self.pairs for name in pair}
        self._cross = {pair: self._zeros() for pair in self.pairs}

    def add(self, windows):
        """Add one window; `windows` maps every name of the pairs to its (H, W) image.

        Returns name -> its tapered spectrum, complex (H, W // 2 + 1).
        """
        spectra = {name: self._spectrum(windows[name]) for name in self._power}
        for name, spectrum in spectra.items():
            self._power[name] += self._sum(np.square(np.abs(spectrum)))
        for first, second in self.pairs:
            product = (spectra[first] * np.conj(spectra[second])).real
            self._cross[first, second] += self._sum(product)
        self.windows += 1
        return spectra

    @property
    def frequency_per_px(self):
        """Mid frequency of each ring up to Nyquist, cycles per pixel, (S // 2 + 1,)."""
        return self.frequencies_per_px()

    def frequencies_per_px(self, corners=False):
        """Return the mid frequency of each ring, cycles per pixel."""
        return np.arange(self._kept(corners)) / self._size

    def correlation(self, first, second):
        """Return the correlation of a pair in each ring, -1..1; NaN if a ring has no power."""
        kept = self._kept(False)
        power = np.sqrt(self._power[first][:kept] * self._power[second][:kept])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(power > 0, self._cross[first, second][:kept] / power, np.nan)

    def power(self, name, corners=False):
        """Return the mean power of a Fourier term in each ring, per pixel of the windows.

        White noise of variance v has power v in every ring but the 0th (the mean is removed).
        """
        return self._per_term(self._power[name], corners)

    def cross_power(self, first, second, corners=False):
        """Return the mean real cross power of a pair in each ring, in the units of `power`."""
        return self._per_term(self._cross[first, second], corners)

    def terms(self, corners=False):
        """Return the number of Fourier terms of one window in each ring."""
        return self._sum(np.ones(self._ring.shape))[: self._kept(corners)]

    def _kept(self, corners):
        return self._rings if corners else self._size // 2 + 1

    def _per_term(self, sums, corners):
        kept = self._kept(corners)
        terms = self.terms(corners=True) * max(self.windows, 1) * np.sum(np.square(self._taper))
        return (sums / terms)[:kept]

    def _zeros(self):
        return np.zeros(self._rings)

    def _spectrum(self, window):
        window = np.asarray(window, dtype=np.float64)
        return np.fft.rfft2((window - window.mean()) * self._taper)  # (H, W // 2 + 1)

    def _sum(self, values):
        """Sum over each ring of the full plane; rfft2 stores only half of it."""
        weights = (values * self._multiplicity).ravel()
        return np.bincount(self._ring.ravel(), weights=weights, minlength=self._rings)


def fourier_ring_correlation(first, second):
    """Correlate two (H, W) images ring by ring.

    Returns (frequency_per_px, correlation), each (min(H, W) // 2 + 1,). Two images with the same
    signal and independent noise of equal power correlate at SNR / (1 + SNR) in a ring; any
    filter that is constant on rings, applied to either image, changes nothing.
    Saxton and Baumeister 1982, J. Microsc. 127, 127; van Heel 1987, Ultramicroscopy 21, 95.
    """
    rings = RingSums(np.shape(first), [("first", "second")])
    rings.add({"first": first, "second": second})
    return rings.frequency_per_px, rings.correlation("first", "second")


def radial_power_spectrum(image):
    """Return (frequency_per_px, power) of one (H, W) image; see RingSums.power."""
    rings = RingSums(np.shape(image), [("image", "image")])
    rings.add({"image": image})
    return rings.frequency_per_px, rings.power("image")


def noise_floor(frequency_per_px, power):
    """Return the power of the noise alone, (S // 2 + 1,), from the power spectrum of one image.

    log(power) = a + b f^2 is fitted between 0.2 and 0.48 cycles per pixel, where molecules in ice
    have next to no signal, and continued to low frequencies: a constant for a counting detector, a
    Gaussian for one that spreads its electrons. What noise has beyond that at low frequencies (ice)
    counts as signal.
    """
    fitted = (frequency_per_px > 0.2) & (frequency_per_px < 0.48) & (power > 0)
    if np.count_nonzero(fitted) < 3:
        return np.zeros_like(power)
    slope, offset = np.polyfit(frequency_per_px[fitted] ** 2, np.log(power[fitted]), 1)
    return np.exp(offset + slope * frequency_per_px**2)


def _hann(length):
    """Return a Hann taper without zeros at its ends. Untapered borders leak onto the axes."""
    return np.square(np.sin(np.pi * (np.arange(length) + 0.5) / length))


def _rings(height, width):
    """Return ring and multiplicity of each term of rfft2, both (H, W // 2 + 1)."""
    y = np.fft.fftfreq(height)[:, None]
    x = np.fft.rfftfreq(width)[None, :]
    ring = np.rint(np.hypot(y, x) * min(height, width)).astype(np.int64)
    twice = np.full(ring.shape, 2.0)
    twice[:, 0] = 1.0
    if width % 2 == 0:
        twice[:, -1] = 1.0
    return ring, twice
