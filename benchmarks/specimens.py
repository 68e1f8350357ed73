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
from specimen_microscope import expose, ice, obstacles, phase_image, splat
from specimen_particles import MODELS, helices, rotation


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
    judged, crystal, carbon = obstacles(recipe, size_px, np.random.default_rng([key, seed, 1]))
    build = _filaments if recipe.particle == "filament" else _particles
    points_px, weights, centres_px = build(recipe, model_rng, place, side, margin, size_px)
    phase = splat(points_px + margin, weights, side)
    signal = phase_image(recipe, phase)[margin : margin + size_px, margin : margin + size_px]
    signal *= math.sqrt(recipe.signal_to_noise) / signal.std()  # noise has standard deviation 1
    background = ice(recipe, size_px, place) + carbon
    truth = (signal + background) * (1 - crystal) - 15.0 * crystal
    inside = ((centres_px >= 0) & (centres_px < size_px)).all(axis=1)
    centres_px = centres_px[inside]
    clear = judged[tuple(np.floor(centres_px).astype(int).T)]
    even, odd = (expose(recipe, truth, rng) for rng in halves)
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
        (model @ rotation(rng.standard_normal(4)).T)[:, 1::-1] / pixel + centre
        for centre in centres
    ]
    return np.concatenate(points), np.tile(model_weights, len(centres)), centres


def _filaments(recipe, model_rng, rng, side, margin, size_px):
    """Return what _particles does, for rods of 16.33 subunits in 23 angstrom (like TMV)."""
    pixel = recipe.pixel_size_angstrom
    subunit = helices(model_rng, np.array([55.0, 0, 0]), np.array([34.0, 11.0, 11.0]), 158)
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
