"""The noise of two halves: does it correlate, and how strong is it?"""

import dataclasses

import numpy as np

from clearice.micrographs.normalisation import median

TILE_PX = 256
MAX_TILES = 8  # per side: 64 tiles of 256 px give a correlation to about 0.001
NOISE_PER_PX = 0.1  # from here on there is more noise than signal
_OUTLIERS = 6  # noise levels from the median: the edge of a crystal in both is no shared noise


@dataclasses.dataclass(frozen=True)
class NoisePowers:
    """Variances per pixel that two halves would have if all their power were that of one band.

    `below` are those of both from NOISE_PER_PX to half the Nyquist frequency, without stripes,
    `above` those above it, `shared` what both have in common below it. Gold or the border of a
    hole in a few tiles does not count.
    """

    below: list[float]
    above: list[float]
    shared: float


class HighFrequencyCorrelation:
    """Correlation of two images above half the Nyquist frequency, from rows in order.

    Signal of ice-embedded molecules is far below the noise there, so independent halves give
    about 0. At most 8 x 8 tiles of 256 px (less where the image is smaller), spread evenly, freed
    of outliers and Hann-windowed, are correlated in Fourier space; the sum runs over all their
    coefficients.
    """

    def __init__(self, height_px, width_px):
        self._tile_px = min(TILE_PX, height_px, width_px)
        self._tops = self._origins(height_px)
        self._lefts = self._origins(width_px)
        self._row = 0
        side = self._tile_px
        self._tiles = np.empty((len(self._lefts), 2, side, side), np.float32)
        frequency = np.fft.fftfreq(side)
        radius = np.hypot(frequency[:, None], np.fft.rfftfreq(side)[None, :])
        high = (radius > 0.25) & (radius < 0.5)
        low = (radius > NOISE_PER_PX) & (radius <= 0.25)
        low[np.abs(frequency) * side < 3] = False  # stripes
        low[:, :3] = False
        self._low, self._high = np.flatnonzero(low), np.flatnonzero(high)
        window = np.hanning(side + 1)[:-1]
        window = np.outer(window, window)
        self._energy = float(np.square(window).sum())
        self._window = (window * window.size).astype(np.float32)  # what the transform divides by
        self._flat = np.empty((2, side, side), np.float32)
        self._cross = self._power_first = self._power_second = 0.0
        self._bands = []  # per tile: powers of both below and above, and what is shared below

    def _origins(self, length_px):
        count = min(MAX_TILES, length_px // self._tile_px)
        rest_px = length_px - self._tile_px
        return [number * rest_px // max(1, count - 1) for number in range(count)]

    def add(self, first, second):
        """Take in the next rows of both images, float32 (b, W)."""
        end = self._row + len(first)
        for top in self._tops:  # rows of tiles don't overlap: one is filled at a time
            low, high = max(top, self._row), min(top + self._tile_px, end)
            if low < high:
                rows = slice(low - self._row, high - self._row)
                self._fill(slice(low - top, high - top), first[rows], second[rows])
        self._row = end

    def _fill(self, into, first, second):
        for tile, left in zip(self._tiles, self._lefts, strict=True):
            tile[0, into] = first[:, left : left + self._tile_px]
            tile[1, into] = second[:, left : left + self._tile_px]
        if into.stop == self._tile_px:
            for tile in self._tiles:
                self._correlate(tile)

    def _correlate(self, tiles):
        """Add the sums of one pair of tiles, float32 (2, tile, tile)."""
        for tile, flat in zip(tiles, self._flat, strict=True):
            _flatten(tile, flat)
        self._flat *= self._window
        # By default NumPy transforms float32 in float64; `forward` divides by the size.
        spectra = np.fft.rfft2(self._flat, norm="forward").reshape(2, -1)
        powers, cross = _products(spectra, self._high)
        self._cross += cross
        self._power_first += powers[0]
        self._power_second += powers[1]
        below, shared = _products(spectra, self._low)
        self._bands.append((*below, *powers, shared))

    def result(self):
        """Return the correlation, -1 to 1; None where there is nothing at those frequencies."""
        power = self._power_first * self._power_second
        return self._cross / power**0.5 if power > 0 else None

    def noise(self):
        """Return the NoisePowers of both halves: medians over the tiles."""
        low, high = (self._energy * max(1, len(band)) for band in (self._low, self._high))
        medians = np.median(self._bands, axis=0) / (low, low, high, high, low)
        below, above, shared = medians[:2], medians[2:4], medians[4]
        return NoisePowers(below.tolist(), above.tolist(), float(shared))


def _products(spectra, band):
    """Return the powers of two spectra (2, n) in a band of coefficients, and what they share."""
    parts = spectra.take(band, axis=1).view(np.float32)  # real and imaginary, one after the other
    # Not by BLAS, whose threads go on to wait for more and hold up the passes beside this one.
    (first, shared), (_, second) = np.einsum("in,jn->ij", parts, parts).tolist()
    return (first, second), shared


def _flatten(tile, out):
    """Put a tile less its median into `out`, float32 (tile, tile), 0 where gold or hot pixels were.

    Its mean is 0.
    """
    sample = tile[::4, ::4]
    middle = np.float32(median(sample))
    np.subtract(tile, middle, out=out)
    reach = _OUTLIERS * 1.4826 * median(np.abs(sample - middle))
    # Without a reach most counts are equal: sparse ones stand out by right.
    if reach > 0 and (out.max() > reach or out.min() < -reach):
        out[np.abs(out) > reach] = 0
    out -= out.mean()
