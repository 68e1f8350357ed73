"""What the network sees and what it must make of it: three kinds of training target.

halves            the other half of the pair (Noise2Noise, Lehtinen et al., ICML 2018)
synthetic_noise   the micrograph itself; noise is added to the input
lowpass           the micrograph after a Gaussian

Each is a generator over blocks of normalised rows, so that no image is ever held.
"""

import hashlib
import math

import numpy as np

KINDS = ("halves", "synthetic_noise", "lowpass")
_TRUNCATE = 4.0  # the Gaussian ends after so many standard deviations


def add_noise(rows, first_row, name, seed, std, out):
    """Set `out` to `rows` plus Gaussian noise of `std`, float32 (b, W); return it.

    Each row has its own Philox stream, keyed by seed and micrograph name and set to the row:
    the noise of a pixel depends on nothing else (order, blocks, overlap of patches, cores).
    """
    key = np.frombuffer(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:16], "<u8")
    for row, noise in enumerate(out, start=first_row):
        generator = np.random.Generator(np.random.Philox(key=key, counter=[0, row, 0, 0]))
        generator.standard_normal(dtype=np.float32, out=noise)
    out *= np.float32(std)
    out += rows
    return out


def gaussian_weights(sigma_px):
    """Return the weights of a sampled Gaussian, float64 (radius + 1,): centre first, sum 1."""
    radius = int(_TRUNCATE * sigma_px + 0.5)
    distance = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 / (sigma_px * sigma_px) * distance**2)
    return (weights / weights.sum())[radius:]


def lowpass_blocks(blocks, height_px, sigma_px):
    """Yield (rows, smoothed rows), float32 (b, W) each, over the image in order.

    `blocks` yields float32 (b, W). The image is mirrored at its borders with the edge pixel
    repeated. Columns first, then rows, float64 sums rounded to float32 between the two: the
    operations of scipy.ndimage.gaussian_filter on the whole image, in its order.
    """
    weights = gaussian_weights(sigma_px)
    radius = len(weights) - 1
    window = None  # rows [top, top + len(window)) of the image
    for window, top, first, last in _windows(blocks, height_px, radius):
        yield (
            window[first - top : last - top],
            _smooth(window, top, first, last, height_px, weights),
        )


def _windows(blocks, height_px, radius):
    """Yield (rows, top, first, last): rows from `top` that hold all that first:last needs."""
    kept, top, first = [], 0, 0
    for block in blocks:
        kept.append(block.copy())
        arrived = top + sum(map(len, kept))
        last = height_px if arrived == height_px else arrived - radius
        if last <= first:
            continue
        window = np.concatenate(kept)
        yield window, top, first, last
        keep_from = max(top, last - radius)
        kept, top, first = [window[keep_from - top :].copy()], keep_from, last


def _smooth(window, top, first, last, height_px, weights):
    radius = len(weights) - 1
    rows = _mirrored(np.arange(first - radius, last + radius), height_px) - top
    columns = _mirrored(np.arange(-radius, window.shape[1] + radius), window.shape[1])
    smoothed = np.empty((last - first, window.shape[1]), np.float32)
    for y in range(last - first):
        line = _weighted(window[rows[y : y + 2 * radius + 1]].astype(np.float64), weights)
        line = line.astype(np.float32)[columns].astype(np.float64)
        shifted = np.lib.stride_tricks.sliding_window_view(line, window.shape[1])
        smoothed[y] = _weighted(shifted, weights)
    return smoothed


def _weighted(lines, weights):
    """Return the symmetric weighted sum of `lines` (2 radius + 1, W), outermost pair first."""
    radius = len(weights) - 1
    total = lines[radius] * weights[0]
    for distance in range(radius, 0, -1):
        total += (lines[radius - distance] + lines[radius + distance]) * weights[distance]
    return total


def _mirrored(index, length):
    """Map any index into 0..length-1 by mirroring with the edge repeated (d c b a | a b c d)."""
    index = index % (2 * length)
    return np.where(index < length, index, 2 * length - 1 - index)


def noise_floor(difference_std, std):
    """Return half the variance of the difference of normalised halves (None if unknown).

    With independent noise of equal variance in both halves this is that variance: the mean
    squared error that a perfect denoiser has against the noisy target.
    """
    floor = 0.5 * (difference_std / std) ** 2
    return floor if math.isfinite(floor) else None
