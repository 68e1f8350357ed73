"""The loss of a network on every patch of one micrograph: where it fails, and not how often."""

import numpy as np

from clearice.shards.patches import patch_origins
from clearice.validation.images import rows_of


def patch_errors(images, scale, patches):
    """Return the loss on each patch of the grid that `patches` (of config.yaml) lays.

    `images` maps denoised and target to images with blocks(); `scale` is the standard deviation
    that training divides by, so that a loss has its unit, variances of the input. The micrograph
    was denoised as a whole: what a patch sees beyond its border is more than in training.
    {"size_px", "std": that scale, "y": origins (m), "x": origins (n), "mse": m lists of n}; None
    for a micrograph that is smaller than a patch. Holds one block of rows of both images.
    """
    size, denoised = patches["size_px"], images["denoised"]
    shape = denoised.height_px, denoised.width_px
    grid = size, patches["stride_px"], patches["cover_border"]
    origins = patch_origins(*shape, *grid)
    if not len(origins):
        return None
    ys, xs = (np.unique(axis) for axis in origins.T)
    sums = np.zeros((len(ys), len(xs)))
    first = 0
    for rows in rows_of({name: images[name] for name in ("denoised", "target")}):
        squares = np.subtract(rows["denoised"], rows["target"], dtype=np.float64)
        squares *= squares
        for patch, y in enumerate(ys):
            inside = squares[max(y - first, 0) : max(y + size - first, 0)]
            if len(inside):
                # Differences of running sums: an overlap of patches costs nothing.
                running = np.concatenate([[0.0], np.cumsum(inside.sum(axis=0))])
                sums[patch] += running[xs + size] - running[xs]
        first += len(squares)
    errors = sums / (size * size * scale * scale)
    return {
        "size_px": size,
        "std": scale,
        "y": ys.tolist(),
        "x": xs.tolist(),
        "mse": [[float(f"{error:.6g}") for error in row] for row in errors],
    }
