"""What the network sees and what it must make of it: four kinds of training target.

halves            the other half of the pair (Noise2Noise, Lehtinen et al., ICML 2018)
pixel_halves      the other diagonal of the micrograph's 2 x 2 blocks (halves/pixel_halves.py)
synthetic_noise   the micrograph itself; noise is added to the input
lowpass           the micrograph after a Gaussian

A target is a function of (input rows, target rows, record, patches) that returns the rows of
both sides. Rows come and go as iterators over blocks, normalised float32 (b, W), in order, so that
no image is ever held; a block is valid until the next one. Both iterators read the micrograph, or
with both kinds of halves one half each. `record` is the shard's, `patches` that section of
config.yaml. A new target is a function, its name in TARGETS and in the schema.
"""

import hashlib

import numpy as np

_TRUNCATE = 4.0  # the Gaussian ends after this many standard deviations
_TILE_PX, _TILE_ROWS = 1024, 8


def noisy_blocks(blocks, name, seed, std):
    """Yield the rows of `blocks`, float32 (b, W), plus Gaussian noise of that `std`.

    Each row has its own Philox stream, keyed by seed and micrograph name and set to the row:
    the noise of a pixel depends on nothing else (order, blocks, overlap of patches, cores).
    """
    key = np.frombuffer(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:16], "<u8")
    first_row, noise = 0, np.empty((0, 0), np.float32)
    for rows in blocks:
        if len(noise) < len(rows):
            noise = np.empty_like(rows)
        noisy = noise[: len(rows)]
        for row, line in enumerate(noisy, start=first_row):
            philox = np.random.Philox(key=key, counter=[0, row, 0, 0])
            np.random.Generator(philox).standard_normal(dtype=np.float32, out=line)
        noisy *= np.float32(std)
        noisy += rows
        yield noisy
        first_row += len(rows)


def gaussian_weights(sigma_px):
    """Return the weights of a sampled Gaussian, float64 (radius + 1,): centre first, sum 1."""
    radius = int(_TRUNCATE * sigma_px + 0.5)
    distance = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 / (sigma_px * sigma_px) * distance**2)
    return (weights / weights.sum())[radius:]


def lowpass_blocks(blocks, height_px, sigma_px):
    """Yield the smoothed rows of an image in order, float32 (b, W).

    `blocks` yields the rows, float32 (b, W). The image is mirrored at its borders with the edge
    pixel repeated. Columns first, then rows, float64 sums rounded to float32 between the two:
    the operations of scipy.ndimage.gaussian_filter on the whole image, in its order.
    """
    weights = gaussian_weights(sigma_px)
    radius = len(weights) - 1
    window, top, first = None, 0, 0  # rows top: of the image; rows before `first` are done
    for block in blocks:
        window = block.copy() if window is None else np.concatenate([window, block])
        arrived = top + len(window)
        last = height_px if arrived == height_px else arrived - radius
        if last > first:
            needed = _mirrored(np.arange(first - radius, last + radius), height_px) - top
            yield _smooth(window, needed, weights)
            top, first = max(top, last - radius), last
            window = window[top - arrived :].copy() if top < arrived else None


def _smooth(window, needed, weights):
    """Smooth the image rows `needed`, indices into `window`, less the halo at both ends."""
    radius, width_px = len(weights) - 1, window.shape[1]
    height = len(needed) - 2 * radius
    smoothed = np.empty((height, width_px), np.float32)
    for left in range(0, width_px, _TILE_PX):  # pieces that fit the cache
        piece = window[needed, left : left + _TILE_PX].astype(np.float64)
        smoothed[:, left : left + _TILE_PX] = _weighted(piece, weights)
    mirrored = _mirrored(np.arange(-radius, width_px + radius), width_px)
    for top in range(0, height, _TILE_ROWS):
        rows = smoothed[top : top + _TILE_ROWS]
        rows[:] = _weighted(rows[:, mirrored].astype(np.float64).T, weights).T
    return smoothed


def _weighted(lines, weights):
    """Return the symmetric weighted sums of neighbouring `lines`, outermost pair first.

    float64 (n + 2 radius, m) -> (n, m).
    """
    radius = len(weights) - 1
    count = len(lines) - 2 * radius
    total = lines[radius : radius + count] * weights[0]
    pair = np.empty_like(total)
    for distance in range(radius, 0, -1):
        below, above = radius - distance, radius + distance
        np.add(lines[below : below + count], lines[above : above + count], out=pair)
        pair *= weights[distance]
        total += pair
    return total


def _mirrored(index, length):
    """Map any index into 0..length-1 by mirroring with the edge repeated (d c b a | a b c d)."""
    index = index % (2 * length)
    return np.where(index < length, index, 2 * length - 1 - index)


def _halves(input_rows, target_rows, record, patches):
    return input_rows, target_rows


def _synthetic_noise(input_rows, target_rows, record, patches):
    seed, std = patches["seed"], patches["synthetic_noise_std"]
    return noisy_blocks(input_rows, record["micrograph"], seed, std), target_rows


def _lowpass(input_rows, target_rows, record, patches):
    sigma_px = patches["lowpass_sigma_px"]
    return input_rows, lowpass_blocks(target_rows, record["height_px"], sigma_px)


TARGETS = {
    "halves": _halves,
    "pixel_halves": _halves,
    "synthetic_noise": _synthetic_noise,
    "lowpass": _lowpass,
}
