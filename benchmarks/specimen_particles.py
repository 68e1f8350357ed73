"""The particles of benchmarks/specimens.py: rods of points (helices) packed into subunits.

Each is a function of a random generator that returns points (n, 3) (x, y, z) in angstrom about the
centre, and their weights (n,).
"""

import math

import numpy as np

HELIX_RISE_ANGSTROM = 1.5  # of a residue along an alpha helix


def helices(rng, centre, radii, residues):
    """Return a subunit: helices of 8 to 20 residues inside an ellipsoid, (residues, 3)."""
    points = []
    while sum(map(len, points)) < residues:
        direction = rng.standard_normal((1, 3))
        direction /= np.linalg.norm(direction)
        length = int(rng.integers(8, 21))
        middle = rng.standard_normal(3)
        middle *= rng.random() ** (1 / 3) / np.linalg.norm(middle)
        along = (np.arange(length) - length / 2)[:, None] * HELIX_RISE_ANGSTROM
        jitter = 1.5 * rng.standard_normal((length, 3))
        points.append(0.8 * middle * radii + along * direction + jitter)
    return np.concatenate(points)[:residues] + centre


def _turned(points, fold):
    """Return `fold` copies of the points about z, (fold * n, 3)."""
    angles = 2 * np.pi * np.arange(fold) / fold
    cos, sin, one, nil = np.cos(angles), np.sin(angles), np.ones(fold), np.zeros(fold)
    turns = np.array([[cos, -sin, nil], [sin, cos, nil], [nil, nil, one]])  # (3, 3, fold)
    return np.einsum("ijk,nj->kni", turns, points).reshape(-1, 3)


def _proteasome(rng):
    """20S: 4 rings of 7, D7, 150 angstrom long and 113 wide, hollow (Loewe et al., 1995)."""
    beta = helices(rng, np.array([38.0, 3.0, 19.0]), np.array([16.0, 15.0, 19.0]), 205)
    alpha = helices(rng, np.array([39.0, -4.0, 56.0]), np.array([16.0, 16.0, 19.0]), 230)
    half = _turned(np.concatenate([beta, alpha]), 7)
    points = np.concatenate([half, half * (1, -1, -1)])
    return points, np.ones(len(points))


def _ribosome(rng):
    """Two unlike lobes of RNA (dense rods) and protein, 2.5 MDa, no symmetry."""
    lobes = [
        (np.array([0.0, 0.0, -35.0]), np.array([105.0, 85.0, 62.0]), 9000),
        (np.array([10.0, 8.0, 55.0]), np.array([95.0, 48.0, 42.0]), 4500),
    ]
    points = np.concatenate([helices(rng, *lobe) for lobe in lobes])
    domain = np.floor(points / 28).astype(int) @ (73, 19, 7) % 5  # RNA and protein in turns
    return points, np.where(domain < 3, 1.7, 0.8)


def _apoferritin(rng):
    """24 four-helix bundles on a shell of 120 angstrom outside and 80 inside, octahedral."""
    bundle = []
    for across, height in ((-5, -5), (5, -5), (-5, 5), (5, 5)):
        along = (np.arange(30) - 15) * HELIX_RISE_ANGSTROM
        helix = np.stack([np.full(30, 50.0 + height), np.full(30, across), along], axis=1)
        bundle.append(helix + 1.5 * rng.standard_normal((30, 3)))
    bundle = np.concatenate(bundle)
    tilt, lift = rotation([0.9, 0.42, 0.0, 0.0]), rotation([0.95, 0.05, -0.25, 0.18])
    bundle = bundle @ tilt.T @ lift.T
    turns = []
    for axes in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (1, 0, 2), (2, 1, 0)):
        for signs in np.ndindex(2, 2, 2):
            turn = np.eye(3)[list(axes)] * (1 - 2 * np.array(signs))
            if np.linalg.det(turn) > 0:
                turns.append(turn)
    points = np.concatenate([bundle @ turn.T for turn in turns])
    return points, np.ones(len(points))


def _membrane_protein(rng):
    """A tetrameric channel: 24 long helices in a detergent belt, a soluble domain below."""
    across = []
    for radius, angle in ((9, 0.0), (17, 0.5), (17, -0.4), (26, 0.2), (26, 0.75), (30, -0.25)):
        along = (np.arange(24) - 12) * HELIX_RISE_ANGSTROM
        helix = np.stack(
            [
                radius * np.cos(angle) + 0.25 * along,
                radius * np.sin(angle) + rng.uniform(-0.3, 0.3) * along,
                along + 25,
            ],
            axis=1,
        )
        across.append(helix + 1.5 * rng.standard_normal(helix.shape))
    soluble = helices(rng, np.array([28.0, 6.0, -24.0]), np.array([19.0, 19.0, 25.0]), 330)
    protein = _turned(np.concatenate([*across, soluble]), 4)
    angle, around = rng.uniform(0, 2 * np.pi, (2, 1500))
    radius = 44 + 13 * np.sqrt(rng.random(1500)) * np.cos(around)
    belt = np.stack(
        [
            radius * np.cos(angle),
            radius * np.sin(angle),
            25 + 17 * np.sqrt(rng.random(1500)) * np.sin(around),
        ],
        axis=1,
    )
    return np.concatenate([protein, belt]), np.repeat([1.0, 0.45], [len(protein), len(belt)])


def _capsid(rng):
    """60 protomers of three chains on a sphere of 300 angstrom, and genome inside."""
    protomer = np.concatenate(
        [
            helices(rng, np.array(centre), np.array([20.0, 20.0, 20.0]), 240)
            for centre in ((12.0, 0.0, 128.0), (38.0, 22.0, 120.0), (34.0, -24.0, 121.0))
        ]
    )
    golden = (1 + math.sqrt(5)) / 2
    axes = np.array([[0, s, t * golden] for s in (1, -1) for t in (1, -1)], float)
    axes = np.concatenate([np.roll(axes, turn, axis=1) for turn in range(3)])  # 12 fivefolds
    shells = []
    for axis in axes:
        # The nearest neighbour fixes the turn about the axis, so all twelve are alike.
        frame_z = axis / np.linalg.norm(axis)
        near = axes[np.argsort(np.linalg.norm(axes - axis, axis=1))[1]]
        frame_x = near - (near @ frame_z) * frame_z
        frame_x /= np.linalg.norm(frame_x)
        frame = np.stack([frame_x, np.cross(frame_z, frame_x), frame_z], axis=1)
        shells.append(_turned(protomer, 5) @ frame.T)
    genome = helices(rng, np.zeros(3), np.full(3, 125.0), 12000)
    points = np.concatenate([*shells, genome])
    return points, np.repeat([1.0, 0.8], [len(points) - len(genome), len(genome)])


def _small_protein(rng):
    """A 64 kDa tetramer of globular subunits, two and two alike (like haemoglobin)."""
    first = helices(rng, np.array([14.0, 8.0, 13.0]), np.array([15.0, 14.0, 14.0]), 141)
    second = helices(rng, np.array([-13.0, 11.0, -12.0]), np.array([15.0, 14.0, 14.0]), 146)
    points = _turned(np.concatenate([first, second]), 2)
    return points, np.ones(len(points))


MODELS = {
    "proteasome": _proteasome,
    "ribosome": _ribosome,
    "apoferritin": _apoferritin,
    "membrane_protein": _membrane_protein,
    "capsid": _capsid,
    "small_protein": _small_protein,
}


def rotation(quaternion):
    """Return the rotation matrix (3, 3) of a quaternion of any length."""
    w, x, y, z = np.asarray(quaternion) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
