"""The two halves of a pair: do they fit together, and is their noise independent?

Noise2Noise learns whatever both halves share. Noise that they share (the same frames in both,
one image given twice, a gain reference that leaks in) is learnt as if it were signal.
"""

import numpy as np

from clearice.errors import InputError
from clearice.micrographs.checks import ONE_IMAGE, SHARED_NOISE

TILE_PX = 256
MAX_TILES = 8  # per side: 64 tiles of 256 px give a correlation to about 0.001
_SCALES = 0.1, 3.0  # of the standard deviations: a mean of 50 frames against one is 0.14
_SAME_PIXEL_SIZE = 1e-3  # relative: cells are stored as float32, often from rounded input


def check_headers(first, second):
    """Raise InputError unless both readers have one shape and pixel size; return warnings."""
    shapes = [f"{half.height_px} x {half.width_px} px" for half in (first, second)]
    if shapes[0] != shapes[1]:
        raise InputError(
            "the halves differ in shape",
            file=second.path,
            expected=f"{shapes[0]} as {first.path}",
            found=shapes[1],
            advice="pair halves of one micrograph",
        )
    sizes = first.pixel_size_angstrom, second.pixel_size_angstrom
    if None in sizes:
        return [] if sizes == (None, None) else ["only one half gives a pixel size"]
    if abs(sizes[0] - sizes[1]) > _SAME_PIXEL_SIZE * sizes[0]:
        raise InputError(
            "the halves differ in pixel size",
            file=second.path,
            expected=f"{sizes[0]:.5g} angstrom as {first.path}",
            found=f"{sizes[1]:.5g}",
            advice="pair halves of one micrograph",
        )
    return []


def compare_halves(survey, paths):
    """Return warnings about a surveyed pair; raise InputError if it is one image twice."""
    if not survey.difference.maximum > survey.difference.minimum:
        raise _same_image("the halves are the same pixels", paths, "a constant difference")
    correlation, warnings = survey.correlation, []
    if correlation is None:
        warnings.append("the halves hold nothing above half the Nyquist frequency to compare")
    elif not correlation < ONE_IMAGE.threshold:
        raise _same_image(ONE_IMAGE.message, paths, f"correlation {correlation:.4f} of their noise")
    elif not abs(correlation) <= SHARED_NOISE.threshold:
        warnings.append(
            SHARED_NOISE.message.format(value=correlation, threshold=SHARED_NOISE.threshold)
        )
    ratio = survey.target.std / survey.input.std
    shift = abs(survey.target.mean - survey.input.mean) / survey.input.std
    if not (_SCALES[0] <= ratio <= _SCALES[1] and shift <= _SCALES[1]):
        warnings.append(
            "the halves are on different scales (standard deviations "
            f"{survey.input.std:.4g} and {survey.target.std:.4g}, means {survey.input.mean:.4g} "
            f"and {survey.target.mean:.4g}): both get the affine of the input half"
        )
    return warnings


def _same_image(what, paths, found):
    return InputError(
        what,
        file=paths[1],
        expected=f"noise independent of {paths[0]}",
        found=found,
        advice="make halves from even and odd frames",
    )


class HighFrequencyCorrelation:
    """Correlation of two images above half the Nyquist frequency, from rows in order.

    Signal of ice-embedded molecules is far below the noise there, so independent halves give
    about 0. At most 8 x 8 tiles of 256 px (less where the image is smaller), spread evenly and
    Hann-windowed, are correlated in Fourier space; the sum runs over all their coefficients.
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
        self._high = (radius > 0.25) & (radius < 0.5)
        window = np.hanning(side + 1)[:-1]
        self._window = np.outer(window, window).astype(np.float32)
        self._cross = self._power_first = self._power_second = 0.0

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
        flat = tiles - tiles.mean(axis=(1, 2), keepdims=True)
        first, second = (spectrum[self._high] for spectrum in np.fft.rfft2(flat * self._window))
        self._cross += float((first * second.conj()).real.sum(dtype=np.float64))
        self._power_first += float((np.abs(first) ** 2).sum(dtype=np.float64))
        self._power_second += float((np.abs(second) ** 2).sum(dtype=np.float64))

    def result(self):
        """Return the correlation, -1 to 1; None where there is nothing at those frequencies."""
        power = self._power_first * self._power_second
        return self._cross / power**0.5 if power > 0 else None
