"""Eight simulated specimens with a known truth, to compare denoisers on. NumPy and SciPy only.

    python benchmarks/specimens.py [--size 2048] [--seed 1]

    from specimens import SPECIMENS, snr_db, specimen
    made = specimen("proteasome", seed=1)       # the same arguments give the same image
    snr_db(made, network(made.even))

It shares no code and no particle with the simulations that networks are trained on, so a network
scores here only for what it learned in general. The eight differ in particle, pixel size, voltage,
defocus, damage, dose, detector and ice: see RECIPES. The image that is denoised is ONE HALF,
`even`, and its ratio of signal to noise variance is the recipe's; `micrograph` = even + odd has
twice that ratio.

Models are rods of points (helices) packed into subunits, with the symmetry of the thing. Image
formation: weak phase, I = I0 (1 + 2 phase * CTF), CTF(k) = -sin(chi + asin A), underfocus positive
(Wade, Ultramicroscopy 46 (1992) 145; Rohou & Grigorieff, J. Struct. Biol. 192 (2015) 216), so
particles are dark; then exp(-B k^2 / 4). Not simulated: the grain of ice and carbon, astigmatism,
beam-induced motion as such.
"""

import argparse
import dataclasses
import hashlib
import math
import time

import numpy as np
from scipy import ndimage

BLOB_SIGMA_ANGSTROM = 2.2  # of a residue
HELIX_RISE_ANGSTROM = 1.5  # of a residue along an alpha helix


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a specimen is made; `signal_to_noise` is a ratio of variances in one half."""

    particle: str
    diameter_angstrom: float
    pixel_size_angstrom: float
    voltage_kv: float
    defocus_um: float
    signal_to_noise: float
    fill: float  # the fraction of the area in the particles' circles, of the diameter
    b_factor_angstrom2: float = 100.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.07
    noise: str = "white"  # white | counts | integrating
    electrons_per_px: float = 10.0  # in one half; matters for counts only
    gradient: float = 0.0  # of the ice, from side to side, in noise standard deviations
    carbon: bool = False
    crystal: bool = False


RECIPES = {
    "proteasome": Recipe("proteasome", 150, 1.3, 300, 1.5, 0.07, 0.26),
    "ribosome": Recipe(
        "ribosome", 250, 1.1, 300, 2.0, 0.10, 0.35, b_factor_angstrom2=140, noise="integrating",
        gradient=0.5, amplitude_contrast=0.1,
    ),
    "apoferritin": Recipe(
        "apoferritin", 120, 0.8, 300, 1.0, 0.06, 0.30, b_factor_angstrom2=60, noise="counts",
        electrons_per_px=12.0, gradient=0.3,
    ),
    "membrane_protein": Recipe(
        "membrane_protein", 110, 1.06, 300, 1.8, 0.03, 0.25, b_factor_angstrom2=120,
        noise="counts", electrons_per_px=6.0, carbon=True,
    ),
    "filament": Recipe(
        "filament", 180, 1.4, 200, 2.5, 0.12, 0.25, b_factor_angstrom2=160,
        noise="integrating", amplitude_contrast=0.1,
    ),
    "capsid": Recipe(
        "capsid", 300, 2.1, 200, 1.2, 0.30, 0.35, b_factor_angstrom2=150, gradient=1.0,
        noise="counts", electrons_per_px=30.0, amplitude_contrast=0.1,
    ),
    "small_protein": Recipe(
        "small_protein", 65, 0.7, 300, 0.8, 0.02, 0.20, b_factor_angstrom2=60,
        spherical_aberration_mm=1.2,
    ),
    "crystal": Recipe("proteasome", 150, 1.3, 300, 1.5, 0.07, 0.26, crystal=True),
}  # fmt: skip
SPECIMENS = tuple(RECIPES)


@dataclasses.dataclass(frozen=True)
class Specimen:
    """Two halves with independent noise, their expectation, and where the particles are.

    All images are (size, size) float32 on the scale of one half. `truth` is the noise-free image:
    `signal`, the particles alone, plus `background`, which is ice, carbon and crystal. `judged` is
    False on carbon and on the crystal, where nothing is scored.
    """

    name: str
    seed: int
    truth: np.ndarray
    even: np.ndarray
    odd: np.ndarray
    signal: np.ndarray
    background: np.ndarray
    judged: np.ndarray  # (size, size) bool
    centres_px: np.ndarray  # (n, 2) float64: y, x; on filaments one per 0.6 diameters
    diameter_px: float
    pixel_size_angstrom: float

    @property
    def micrograph(self):
        """The full exposure: the sum of both halves."""
        return self.even + self.odd


def snr_db(made, image, judged=None):
    """Return -10 log10(1 - r^2) in dB, r the correlation of `image` (H, W) with the signal.

    The known background and a constant are first fitted out of both, so that a gradient of the ice
    counts neither for nor against a denoiser. Without a background this is plain correlation.
    """
    judged = made.judged if judged is None else judged
    values = [np.asarray(field)[judged].astype(np.float64) for field in (image, made.signal)]
    nuisance = [np.ones(len(values[0]))]
    background = made.background[judged].astype(np.float64)
    background -= background.mean()
    if background.std() > 1e-6 * values[1].std():
        nuisance.append(background / background.std())
    basis = np.stack(nuisance, axis=1)
    gram = np.linalg.inv(basis.T @ basis)
    rest = [value - basis @ (gram @ (basis.T @ value)) for value in values]
    r = rest[0] @ rest[1] / math.sqrt(max((rest[0] @ rest[0]) * (rest[1] @ rest[1]), 1e-300))
    return -10 * math.log10(max(1 - r * r, 1e-12))


def specimen(name, seed, size_px=2048):
    """Return the Specimen `name` (one of SPECIMENS); the seed fixes everything in it."""
    recipe = RECIPES[name]
    key = int.from_bytes(hashlib.sha256(recipe.particle.encode()).digest()[:4], "little")
    model_rng = np.random.default_rng([key, 7])  # the particle is the same in every micrograph
    # The crystal's micrograph is the proteasome's of that seed but for the crystal.
    place, *halves = np.random.default_rng([key, seed]).spawn(3)
    pixel = recipe.pixel_size_angstrom
    margin = math.ceil((recipe.diameter_angstrom + 250 * recipe.defocus_um) / pixel)
    side = size_px + 2 * margin
    judged, crystal, carbon = _obstacles(recipe, size_px, np.random.default_rng([key, seed, 1]))
    build = _filaments if recipe.particle == "filament" else _particles
    points_px, weights, centres_px = build(recipe, model_rng, place, side, margin, size_px)
    phase = _splat(points_px + margin, weights, side)
    signal = _image(recipe, phase)[margin : margin + size_px, margin : margin + size_px]
    signal *= math.sqrt(recipe.signal_to_noise) / signal.std()  # noise has standard deviation 1
    background = _ice(recipe, size_px, place) + carbon
    truth = (signal + background) * (1 - crystal) - 15.0 * crystal
    inside = ((centres_px >= 0) & (centres_px < size_px)).all(axis=1)
    centres_px = centres_px[inside]
    clear = judged[tuple(np.floor(centres_px).astype(int).T)]
    even, odd = (_expose(recipe, truth, rng) for rng in halves)
    scale = math.sqrt(recipe.electrons_per_px) if recipe.noise == "counts" else 1.0
    level = recipe.electrons_per_px if recipe.noise == "counts" else 0.0
    truth, signal = truth * scale + level, signal * (1 - crystal) * scale
    return Specimen(
        name=name,
        seed=seed,
        truth=truth.astype(np.float32),
        even=even.astype(np.float32),
        odd=odd.astype(np.float32),
        signal=signal.astype(np.float32),
        background=(truth - signal).astype(np.float32),
        judged=judged,
        centres_px=centres_px[clear],
        diameter_px=recipe.diameter_angstrom / pixel,
        pixel_size_angstrom=pixel,
    )


# ---- particles: (n, 3) points (x, y, z) in angstrom about the centre, and (n,) weights


def _helices(rng, centre, radii, residues):
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
    beta = _helices(rng, np.array([38.0, 3.0, 19.0]), np.array([16.0, 15.0, 19.0]), 205)
    alpha = _helices(rng, np.array([39.0, -4.0, 56.0]), np.array([16.0, 16.0, 19.0]), 230)
    half = _turned(np.concatenate([beta, alpha]), 7)
    points = np.concatenate([half, half * (1, -1, -1)])
    return points, np.ones(len(points))


def _ribosome(rng):
    """Two unlike lobes of RNA (dense rods) and protein, 2.5 MDa, no symmetry."""
    lobes = [
        (np.array([0.0, 0.0, -35.0]), np.array([105.0, 85.0, 62.0]), 9000),
        (np.array([10.0, 8.0, 55.0]), np.array([95.0, 48.0, 42.0]), 4500),
    ]
    points = np.concatenate([_helices(rng, *lobe) for lobe in lobes])
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
    tilt, lift = _rotation([0.9, 0.42, 0.0, 0.0]), _rotation([0.95, 0.05, -0.25, 0.18])
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
    soluble = _helices(rng, np.array([28.0, 6.0, -24.0]), np.array([19.0, 19.0, 25.0]), 330)
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
            _helices(rng, np.array(centre), np.array([20.0, 20.0, 20.0]), 240)
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
    genome = _helices(rng, np.zeros(3), np.full(3, 125.0), 12000)
    points = np.concatenate([*shells, genome])
    return points, np.repeat([1.0, 0.8], [len(points) - len(genome), len(genome)])


def _small_protein(rng):
    """A 64 kDa tetramer of globular subunits, two and two alike (like haemoglobin)."""
    first = _helices(rng, np.array([14.0, 8.0, 13.0]), np.array([15.0, 14.0, 14.0]), 141)
    second = _helices(rng, np.array([-13.0, 11.0, -12.0]), np.array([15.0, 14.0, 14.0]), 146)
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


def _particles(recipe, model_rng, rng, side, margin, size_px):
    """Return points (n, 2) (y, x) px, weights (n,) and centres (m, 2) of particles anywhere.

    Coordinates are those of the micrograph; some centres lie outside it, up to a margin.
    """
    model, model_weights = MODELS[recipe.particle](model_rng)
    model = model - np.average(model, axis=0, weights=model_weights)
    pixel = recipe.pixel_size_angstrom
    radius_px = recipe.diameter_angstrom / 2 / pixel
    count = round(recipe.fill * side**2 / (math.pi * radius_px**2))
    low, high = -margin + radius_px, side - margin - radius_px
    centres = np.empty((0, 2))
    for _ in range(200 * count):
        if len(centres) == count:
            break
        centre = rng.uniform(low, high, 2)
        if (np.linalg.norm(centres - centre, axis=1) > 1.9 * radius_px).all():
            centres = np.concatenate([centres, centre[None]])
    points = [
        (model @ _rotation(rng.standard_normal(4)).T)[:, 1::-1] / pixel + centre
        for centre in centres
    ]
    return np.concatenate(points), np.tile(model_weights, len(centres)), centres


def _filaments(recipe, model_rng, rng, side, margin, size_px):
    """Return what _particles does, for rods of 16.33 subunits in 23 angstrom (like TMV)."""
    pixel = recipe.pixel_size_angstrom
    subunit = _helices(model_rng, np.array([55.0, 0, 0]), np.array([34.0, 11.0, 11.0]), 158)
    width_px = recipe.diameter_angstrom / pixel
    reach_px = 0.75 * side
    count = round(recipe.fill * side**2 / (width_px * side))
    middle_px = size_px / 2
    points, weights, centres = [], [], []
    base = rng.uniform(0, np.pi)
    offsets = np.linspace(-0.5, 0.5, count + 2)[1:-1] * side
    for offset in offsets + rng.uniform(-0.3, 0.3, count) * side / count:
        angle = base + rng.uniform(-0.2, 0.2)
        bend = rng.uniform(-3e-5, 3e-5)
        total = int(2 * reach_px * pixel / 23 * 16.33)
        turn = 2 * np.pi / 16.33 * np.arange(total) + rng.uniform(0, 2 * np.pi)
        rise = (np.arange(total) - total / 2) * 23 / 16.33 / pixel
        sign = rng.choice([-1.0, 1.0])  # which end points up
        across = np.cos(turn)[:, None] * subunit[:, 0] - np.sin(turn)[:, None] * subunit[:, 1]
        across = across / pixel
        along = rise[:, None] + sign * subunit[:, 2] / pixel
        across += bend * along**2 + offset
        cos, sin = math.cos(angle), math.sin(angle)
        yx = np.stack([along * sin + across * cos, along * cos - across * sin], -1) + middle_px
        points.append(yx.reshape(-1, 2))
        weights.append(np.ones(yx.size // 2))
        axis = np.arange(-reach_px, reach_px, 0.6 * width_px)
        shift = bend * axis**2 + offset
        centres.append(
            np.stack([axis * sin + shift * cos, axis * cos - shift * sin], -1) + middle_px
        )
    return np.concatenate(points), np.concatenate(weights), np.concatenate(centres)


def _rotation(quaternion):
    """Return the rotation matrix (3, 3) of a quaternion of any length."""
    w, x, y, z = np.asarray(quaternion) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


# ---- the microscope


def _splat(points_px, weights, side):
    """Return an image (side, side) of point weights, each shared by its four nearest pixels."""
    inside = ((points_px >= 0) & (points_px < side - 1)).all(axis=1)
    points_px, weights = points_px[inside], weights[inside]
    corner = np.floor(points_px).astype(np.int64)
    part = points_px - corner
    image = np.zeros(side * side)
    for down in (0, 1):
        for right in (0, 1):
            share = (part[:, 0] if down else 1 - part[:, 0]) * (
                part[:, 1] if right else 1 - part[:, 1]
            )
            index = (corner[:, 0] + down) * side + corner[:, 1] + right
            image += np.bincount(index, share * weights, side * side)
    return image.reshape(side, side)


def _frequency(side, spacing):
    """Return the radial frequencies of an rfft2 of (side, side), in 1/spacing."""
    return np.hypot(np.fft.fftfreq(side, spacing)[:, None], np.fft.rfftfreq(side, spacing)[None])


def _image(recipe, phase):
    """Return the contrast (side, side) of a phase, without its scale: CTF, envelope, detector."""
    side = len(phase)
    k = _frequency(side, recipe.pixel_size_angstrom)  # per angstrom
    ev = recipe.voltage_kv * 1e3
    wavelength = 12.2643 / math.sqrt(ev * (1 + 0.978476e-6 * ev))  # angstrom
    chi = math.pi * wavelength * k**2 * recipe.defocus_um * 1e4
    chi -= math.pi / 2 * recipe.spherical_aberration_mm * 1e7 * wavelength**3 * k**4
    transfer = -np.sin(chi + math.asin(recipe.amplitude_contrast))
    transfer *= np.exp(-recipe.b_factor_angstrom2 / 4 * k**2)
    transfer *= np.exp(-2 * (math.pi * BLOB_SIGMA_ANGSTROM * k) ** 2)
    if recipe.noise == "integrating":
        transfer *= _detector_transfer(side)
    return np.fft.irfft2(np.fft.rfft2(phase) * transfer, s=phase.shape)


def _detector_transfer(side):
    """Return the MTF of an integrating camera: 0.45 at a quarter of the sampling rate."""
    return 1 / (1 + (_frequency(side, 1.0) / 0.225) ** 2)


def _expose(recipe, truth, rng):
    """Return one half: `truth` (standard deviations of noise) with independent noise."""
    if recipe.noise == "counts":
        electrons = recipe.electrons_per_px
        return rng.poisson(np.maximum(electrons + math.sqrt(electrons) * truth, 0))
    noise = rng.standard_normal(truth.shape)
    if recipe.noise == "integrating":
        # Electrons spread as the signal does; a fifth of the variance is readout, which is white.
        spread = np.fft.irfft2(np.fft.rfft2(noise) * _detector_transfer(len(noise)), s=noise.shape)
        noise = math.sqrt(0.8) * spread / spread.std()
        noise += math.sqrt(0.2) * rng.standard_normal(truth.shape)
    return truth + noise


def _ice(recipe, size_px, rng):
    """Return ice of uneven thickness, (size, size): darker towards one side."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size_px, :size_px] / size_px - 0.5
    slope = y * math.sin(angle) + x * math.cos(angle)
    return recipe.gradient * (slope + 0.4 * slope**2)


def _obstacles(recipe, size_px, rng):
    """Return where images are judged (bool), how much crystal covers (0 to 1), and carbon."""
    y, x = np.mgrid[:size_px, :size_px].astype(np.float64)
    clear = 100 / recipe.pixel_size_angstrom  # what is scored keeps this far away
    crystal, carbon = np.zeros((size_px, size_px)), np.zeros((size_px, size_px))
    judged = np.ones((size_px, size_px), bool)
    if recipe.crystal:
        cy, cx = rng.uniform(0.3, 0.7, 2) * size_px
        angle = np.arctan2(y - cy, x - cx)
        turn = rng.uniform(0, 2 * np.pi)
        hexagon = np.cos((angle - turn + np.pi / 6) % (np.pi / 3) - np.pi / 6)
        distance = np.hypot(y - cy, x - cx) * hexagon - 270 / recipe.pixel_size_angstrom
        crystal = 1 / (1 + np.exp(np.clip(distance / 2.5, -50, 50)))
        judged &= distance > clear
    if recipe.carbon:
        far = 1.45 * size_px  # the rim of a hole of that radius
        cy, cx = size_px / 2, size_px * 0.86 - far
        distance = np.hypot(y - cy, x - cx) - far
        carbon = -1.2 / (1 + np.exp(np.clip(-distance / 3, -50, 50)))
        judged &= distance < -clear
    return judged, crystal, ndimage.gaussian_filter(carbon, 2)


def main():
    """Print each specimen's figures and the SNR of the image that is denoised."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--size", type=int, default=2048, help="side in px")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for name in SPECIMENS:
        start = time.perf_counter()
        made = specimen(name, arguments.seed, arguments.size)
        noise = (made.even - made.truth)[made.judged]
        print(
            f"{name:17s} {len(made.centres_px):4d} particles of {made.diameter_px:5.1f} px, "
            f"signal/noise {(made.signal[made.judged].std() / noise.std()) ** 2:.3f}, "
            f"raw {snr_db(made, made.even):.2f} dB, {time.perf_counter() - start:.1f} s"
        )


if __name__ == "__main__":
    main()
