"""Particles found by a fixed blob detector, against the centres that a simulation knows.

The detector has nothing to tune: the negative Laplacian of a Gaussian of sigma = radius / sqrt(2),
which answers most to a disk of that radius (Lindeberg 1998, Int. J. Comput. Vis. 30, 79), its local
maxima, and a least distance between two particles. It is the same for every image it is run on.
"""

import numpy as np

LEAST_DISTANCE = 0.5  # of two detections, in particle diameters
MATCH_DISTANCE = 0.3  # of a detection from the centre that it finds, in particle diameters


def blob_transfer(frequency_per_px, diameter_px):
    """Return the transfer of the detector: positive for bright blobs."""
    squared = np.square(2 * np.pi * frequency_per_px * diameter_px / np.sqrt(8))
    return squared * np.exp(-squared / 2)


def local_maxima(response):
    """Return (y_px, x_px), (n, 2), and values (n,) of pixels above their eight neighbours.

    `response` (h + 2, w + 2) has a border of one pixel, which holds no maximum.
    """
    middle = response[1:-1, 1:-1]
    highest = np.ones(middle.shape, bool)
    height, width = middle.shape
    for y in range(3):
        for x in range(3):
            if (y, x) != (1, 1):
                highest &= middle > response[y : y + height, x : x + width]
    return np.argwhere(highest), middle[highest]


def ranked_particles(positions, scores, diameter_px):
    """Return positions (n, 2) by falling score, none closer to a better one than the distance."""
    order = np.argsort(-scores, kind="stable")
    positions = positions[order].astype(float)
    kept = np.ones(len(positions), bool)
    limit = (LEAST_DISTANCE * diameter_px) ** 2
    for i in range(len(positions)):
        if kept[i]:
            distance = np.square(positions[i + 1 :] - positions[i]).sum(axis=1)
            kept[i + 1 :] &= distance >= limit
    return positions[kept]


def average_precision(particles, centres, diameter_px):
    """Return the average precision of ranked `particles` (n, 2) for `centres` (m, 2), 0..1.

    In the order of their rank, each detection takes the nearest centre that is still free within
    MATCH_DISTANCE diameters. The area under the precision-recall curve over all points, precision
    being the best at that recall or a higher one (Everingham et al. 2010, Int. J. Comput. Vis. 88,
    303, as computed since 2010).
    """
    free = np.ones(len(centres), bool)
    hits = np.zeros(len(particles), bool)
    for i, particle in enumerate(particles):
        distance = np.where(free, np.square(centres - particle).sum(axis=1), np.inf)
        nearest = int(np.argmin(distance))
        if distance[nearest] <= (MATCH_DISTANCE * diameter_px) ** 2:
            free[nearest], hits[i] = False, True
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[hits].sum() / len(centres))
