"""Random particles for the general network's training: point models of every kind that is imaged.

A particle is a cloud of equal points in angstrom. What it looks like is left to chance (globules,
rings, cages, rods, discs in a belt of detergent, vesicles, filaments), so that the network learns
what an image of particles is, not what one protein looks like.
"""

import numpy as np

POINTS = 2048  # per particle
FILAMENT_POINTS = 16384
FILAMENT_LENGTH_ANGSTROM = 4000.0
_RADII_ANGSTROM = (25.0, 200.0)
_GOLDEN = (1 + 5**0.5) / 2


def particle(generator):
    """Return (points (POINTS, 3) float32 in angstrom, centred, radius in angstrom)."""
    kind = generator.choice(["complex", "belt", "rod", "vesicle"], p=[0.76, 0.1, 0.08, 0.06])
    radius = np.exp(generator.uniform(*np.log(_RADII_ANGSTROM)))
    if kind == "vesicle":
        radius = np.exp(generator.uniform(np.log(120.0), np.log(700.0)))
        points = _vesicle(radius, generator)
    elif kind == "rod":
        points = _blobs(radius, generator, flattening=(0.15, 0.5))[:, [2, 1, 0]]
        points *= (1.0, 0.35, 0.35)
    elif kind == "belt":
        points = _with_belt(_blobs(radius, generator, flattening=(0.8, 1.6)), radius, generator)
    else:
        points = _symmetric(_blobs(radius, generator, flattening=(0.4, 1.6)), generator)
    points = generator.choice(points, POINTS, replace=len(points) < POINTS)
    points -= points.mean(axis=0)
    return points.astype(np.float32), float(np.percentile(np.linalg.norm(points, axis=1), 95))


def filament(generator):
    """Return points (FILAMENT_POINTS, 3) float32 of a helical filament along x, in angstrom."""
    axial_rise, twist = generator.uniform(8, 60), generator.uniform(0, 2 * np.pi)
    if generator.random() < 0.5:  # a helix of many subunits per turn, as tobacco mosaic virus
        per_turn = generator.uniform(4, 20)
        axial_rise, twist = generator.uniform(18, 60) / per_turn, 2 * np.pi / per_turn
    spread, distance = generator.uniform(5, 16), generator.uniform(5, 110)
    n_subunits = int(FILAMENT_LENGTH_ANGSTROM / axial_rise)
    n_starts = int(generator.integers(1, 14)) if distance > 60 else int(generator.integers(1, 5))
    subunit = generator.standard_normal((120, 3)) * spread + (distance, 0, 0)
    number = generator.integers(0, n_subunits, FILAMENT_POINTS)
    start = generator.integers(0, n_starts, FILAMENT_POINTS)
    x, y, z = subunit[generator.integers(0, len(subunit), FILAMENT_POINTS)].T
    angle = twist * number + 2 * np.pi * start / n_starts
    along = axial_rise * (number - n_subunits / 2) + z
    across = x * np.cos(angle) - y * np.sin(angle)
    depth = x * np.sin(angle) + y * np.cos(angle)
    return np.stack([along, across, depth], 1).astype(np.float32)


def _blobs(radius, generator, flattening):
    """Return the points of 2 to 10 globules within an ellipsoid, some of them hollow."""
    n_blobs = generator.integers(2, 11)
    direction = generator.standard_normal((n_blobs, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    hollow = generator.random() < 0.35
    low = 0.75 if hollow else 0.0
    distance = generator.uniform(low**3, 1, (n_blobs, 1)) ** (1 / 3)
    centres = direction * distance * radius * (1, 1, generator.uniform(*flattening))
    spread = radius * generator.uniform(0.06, 0.3, (n_blobs, 1, 1))
    return (centres[:, None] + generator.standard_normal((n_blobs, 160, 3)) * spread).reshape(-1, 3)


def _with_belt(points, radius, generator):
    """Add a ring of detergent or lipid around the middle."""
    n_points = int(len(points) * generator.uniform(0.3, 1.5))
    angle = generator.uniform(0, 2 * np.pi, n_points)
    distance = radius * np.sqrt(generator.uniform(0.3, 1.4, n_points))
    height = generator.uniform(-18, 18, n_points)
    belt = np.stack([distance * np.cos(angle), distance * np.sin(angle), height], 1)
    return np.concatenate([points, belt])


def _vesicle(radius, generator):
    """Return the two leaflets of a closed membrane."""
    direction = generator.standard_normal((POINTS, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    leaflet = radius + generator.choice([-18.0, 18.0], (POINTS, 1))
    shape = 1 + generator.uniform(-0.15, 0.15, 3)
    return direction * (leaflet + 4 * generator.standard_normal((POINTS, 1))) * shape


def _symmetric(points, generator):
    """Return the points with the copies that a random point group makes of them."""
    group = generator.choice(["cyclic", "dihedral", "cubic"], p=[0.5, 0.35, 0.15])
    order = int(generator.choice([1, 1, 2, 3, 4, 5, 6, 7, 8, 12]))
    axes = [((0, 0, 1), order)]
    if group == "dihedral":
        axes.append(((1, 0, 0), 2))
    elif group == "cubic":
        axes = [
            [((0, 0, 1), 2), ((1, 1, 1), 3)],  # tetrahedral
            [((0, 0, 1), 4), ((1, 1, 1), 3)],  # octahedral
            [((0, 0, 1), 2), ((1, 1, 1), 3), ((0, 1, _GOLDEN), 5)],  # icosahedral
        ][generator.integers(3)]
    return np.concatenate([points @ element.T for element in _group(axes)])


def _group(axes):
    """Return the rotation matrices that turns about the axes (direction, order) generate."""
    turns = [_turn(np.array(axis, float), 2 * np.pi / order) for axis, order in axes]
    elements = [np.eye(3)]
    for element in elements:  # grows while it is walked
        for turn in turns:
            product = turn @ element
            if not any(np.allclose(product, known, atol=1e-6) for known in elements):
                elements.append(product)
    return elements


def _turn(axis, angle):
    """Return the matrix of a turn about an axis (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
