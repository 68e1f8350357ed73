"""Do two halves share their signal? Noise must be independent, what lies under it must not be.

Compared at low frequencies, on images of at most 512 px per side made of block means: that is
where a micrograph has signal. Each half tells by itself how much it holds there, by what its
power exceeds that of its noise; a pair of one scene shares all of it, two scenes none. Shared
backgrounds (ice, illumination, the gain reference) lie below three cycles per image and on the
axes of Fourier space, and are left out.
"""

import dataclasses
import math

import numpy as np

from clearice.micrographs.halves.moved_half import Movement, find_movement
from clearice.micrographs.normalisation import median

BINNED_PX = 512  # longest side of the images that are compared
_RINGS = (3, 5, 8, 12, 17, 24, 34, 48, 68, 96, 136, 192, 256)  # edges, cycles per image
_TAPER = 0.25  # of a side, both ends together: no step where the image meets itself
_OUTLIERS = 5  # noise levels of a block mean: gold, crystals and borders must not rule
_LEAST_EXCESS = 0.15  # of the power over the noise's, whose level is known to a few per cent
_LEAST_WHITENESS = 0.25  # of the noise, between half the Nyquist frequency and below it
_TO_ZERO = 1 / 3  # 0.19^2 / (0.38^2 - 0.19^2): mean squared frequencies of both noise bands
_CLEAR_SHARE = 0.4  # beyond it, no flip or rotation is looked for


@dataclasses.dataclass(frozen=True)
class SharedSignal:
    """What two halves share at low frequencies.

    `correlation`: mean over frequencies, weighted by the signal expected there; `score`: standard
    errors by which the halves correlate. `share`: of the signal that each half has by itself, the
    part that is common (1 for a pair, 0 for strangers, -1 for inverted contrast); `share_error`:
    its standard error.
    `share` is None where nothing can be told: no signal, or noise that was filtered. `movement`:
    how the other half lies on the first (moved_half.Movement), or None where it is not known.
    """

    correlation: float | None
    score: float
    share: float | None
    share_error: float
    movement: Movement | None


NO_SIGNAL = SharedSignal(None, 0.0, None, math.inf, None)


class BlockMeans:
    """Block means of an image from its rows in order, and the means of its columns and rows."""

    def __init__(self, height_px, width_px):
        self.bin_px = max(1, -(-max(height_px, width_px) // BINNED_PX))
        self._means = np.zeros((height_px // self.bin_px, width_px // self.bin_px), np.float32)
        self._block = np.zeros(width_px)  # sums of the columns of the rows since the last block
        self._column_sums = np.zeros(width_px)
        self._row_means, self._row = [], 0

    def add(self, rows):
        """Take in the next rows, float (b, W)."""
        first, bin_px = 0, self.bin_px
        while first < len(rows):
            begun = self._row % bin_px
            count = (len(rows) - first) // bin_px
            last = min(len(rows), first + bin_px - begun)
            if not begun and count:  # whole blocks: many at once
                last = first + count * bin_px
                blocks = rows[first:last].reshape(count, bin_px, -1)
                self._take(blocks.sum(axis=1).astype(np.float64))
            else:
                self._block += rows[first:last].sum(axis=0)
                if begun + last - first == bin_px:
                    self._take(self._block[None])
                    self._block[:] = 0
            self._row += last - first
            first = last
        self._row_means.append(rows.mean(axis=1))

    def _take(self, sums):
        """Take in the sums of the columns of whole blocks, float64 (n, W)."""
        width, first = self._means.shape[1], self._row // self.bin_px
        blocks = sums[:, : width * self.bin_px].reshape(len(sums), width, self.bin_px)
        self._means[first : first + len(sums)] = np.einsum("nwb->nw", blocks) / self.bin_px**2
        self._column_sums += sums.sum(axis=0)

    def image(self):
        """Return the block means, float32 (h, w); what fills no block is left out."""
        return self._means

    def column_means(self):
        """Return the mean of every column, float64 (W,)."""
        return (self._column_sums + self._block) / self._row

    def row_means(self):
        """Return the mean of every row, float64 (H,)."""
        return np.concatenate(self._row_means).astype(np.float64)


def shared_signal(images, bin_px, noise_powers, whiteness):
    """Return the SharedSignal of two images of block means, float (2, h, w).

    `bin_px` is the side of a block. `noise_powers` are the variances that the noise of both has
    per pixel of the micrograph, `whiteness` the ratios of their power above half the Nyquist
    frequency to that below it.
    """
    shape = images[0].shape
    window = np.outer(*(_taper(side) for side in shape))
    energy = float(np.square(window).sum())
    # Of a coefficient: the real part of a product, and a taper correlates neighbours.
    independent = 2 * energy**2 / (float(np.power(window, 4).sum()) * window.size)
    window = (window * (bin_px / math.sqrt(energy) * window.size)).astype(np.float32)
    flat = [_flat(image) * window for image in images]  # float32: half the memory
    # By default NumPy transforms float32 in float64; `forward` divides by the size.
    first, second = (np.fft.rfft2(image, norm="forward") for image in flat)
    ring = _ring_numbers(shape)
    counts = np.bincount(ring.ravel())[1:] * independent
    powers = [_ring_means(np.abs(spectrum) ** 2, ring) for spectrum in (first, second)]
    amplitude = np.sqrt(powers[0] * powers[1])
    if not (np.isfinite(amplitude).all() and (amplitude > 0).all()):
        return NO_SIGNAL
    found = _ring_means((first * second.conj()).real, ring) / amplitude
    # A detector's noise falls like a Gaussian towards high frequencies: this is what it has at 0.
    levels = [
        n * max(w, 1e-6) ** -_TO_ZERO if w < 1 else n
        for n, w in zip(noise_powers, whiteness, strict=True)
    ]
    excess = [np.maximum(0, 1 - n / p) for n, p in zip(levels, powers, strict=True)]
    expected = np.sqrt(excess[0] * excess[1])
    information = float((counts * expected**2).sum())
    if not information > 0:
        return NO_SIGNAL
    projected = float((counts * expected * found).sum())
    error = 1 / math.sqrt(information)
    certain = np.minimum(*excess) > np.maximum(_LEAST_EXCESS, 3 * np.sqrt(2 / counts))
    share, share_error = None, math.inf
    if certain.any() and min(whiteness) >= _LEAST_WHITENESS:
        known = counts[certain] * expected[certain]
        share = float((known * found[certain]).sum() / (known * expected[certain]).sum())
        share_error = 1 / math.sqrt((known * expected[certain]).sum())
    clear = share is not None and share - 3 * share_error > _CLEAR_SHARE
    # In standard errors: the score of a place is a sum over coefficients of these weights.
    weights = np.concatenate([[0], expected / amplitude * (independent * error)])
    weights = weights.astype(np.float32)[ring]
    return SharedSignal(
        float((counts * expected**2 * found).sum()) / information,
        projected * error,
        share,
        share_error,
        find_movement((first, second), flat[1], weights, bin_px, turned=not clear),
    )


def _flat(image):
    """Return the image without outliers and without its plane of best fit."""
    sample = image[::2, ::2]  # its noise is known to a per cent or two all the same
    middle = median(sample)
    reach = _OUTLIERS * 1.4826 * median(np.abs(sample - middle))
    flat = np.clip(image, middle - reach, middle + reach) if reach > 0 else image
    flat = flat.astype(np.float32)
    flat -= flat.mean()
    for axis, side in enumerate(image.shape):
        along = ((np.arange(side) + 0.5) / side - 0.5).reshape((-1, 1) if axis == 0 else (1, -1))
        flat -= ((flat * along).mean() / max(np.square(along).mean(), 1e-12) * along).astype(
            np.float32
        )
    return flat


def _taper(side):
    """Return a window that falls to 0 over an eighth of the side at each end, float64 (side,)."""
    distance = np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5
    return 0.5 - 0.5 * np.cos(np.pi * np.minimum(1, distance / (_TAPER / 2 * side)))


def _ring_numbers(shape):
    """Return the number of each coefficient's ring, from 1 on, int (h, w // 2 + 1); 0: in none."""
    height, width = shape
    down, across = np.fft.fftfreq(height, 1 / height), np.fft.rfftfreq(width, 1 / width)
    side = min(shape)
    radius = np.hypot(down[:, None] * side / height, across[None] * side / width)
    edges = [edge for edge in _RINGS if edge <= side / 2]
    ring = np.digitize(radius, edges)
    ring[ring == len(edges)] = 0
    ring[np.abs(down) < 2] = 0
    ring[:, across < 2] = 0
    return ring


def _ring_means(values, ring):
    counts = np.bincount(ring.ravel())
    return (np.bincount(ring.ravel(), values.ravel()) / np.maximum(counts, 1))[1:]
