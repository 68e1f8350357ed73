"""Simulate micrographs with a known truth: particles in ice, imaged and counted.

The image is formed in the weak-phase approximation: a particle shifts the electron wave's phase
by sigma * (V_protein - V_ice) per unit length, 2.1 mrad per angstrom at 300 kV and at most 0.3
rad in total. The microscope turns phase into contrast, I/I0 = 1 + 2 phase * CTF (Wade,
Ultramicroscopy 46 (1992) 145). Not simulated: the granularity of ice (its molecules move by several
angstrom during such a dose: McMullan et al., Ultramicroscopy 158 (2015) 26), astigmatism, and
losses in the detector (an ideal counter).
"""

import dataclasses
import hashlib
import math

import numpy as np

from clearice.micrographs.simulation.optics import (
    contrast_transfer,
    delocalisation_angstrom,
    envelope,
    interaction_constant_rad_per_v_angstrom,
)
from clearice.micrographs.simulation.particles import (
    MASS_DALTON,
    RADIUS_ANGSTROM,
    project,
    proteasome,
    random_centres,
    random_rotations,
)

# Mean inner potential of protein minus that of the ice it displaces. Isolated atoms (forward
# scattering amplitudes of Doyle & Turner, Acta Cryst. A24 (1968) 390) give 7.9 V at 1.35 g/cm^3
# and 4.5 V at 0.93 g/cm^3; bonds and solvent take less than a tenth of that difference (Vulovic
# et al., J. Struct. Biol. 183 (2013) 19, who checked it on images of the 20S proteasome).
EXCESS_POTENTIAL_V = 3.2
# Partial specific volume of protein, 0.73 cm^3/g, per dalton.
PROTEIN_ANGSTROM3_PER_DALTON = 1.21
# Ice at 300 kV behind an energy filter: I/I0 = exp(-thickness / 395 nm) (Rice et al., J. Struct.
# Biol. 204 (2018) 38).
MEAN_FREE_PATH_NM = 395.0
# Motion, damage and coherence together: half the amplitude is left at 6 angstrom.
B_FACTOR_ANGSTROM2 = 100.0


@dataclasses.dataclass(frozen=True)
class SimulatedMicrograph:
    """Two independent halves and their expectation, (H, W) float32, in electrons per pixel."""

    even: np.ndarray
    odd: np.ndarray
    truth: np.ndarray  # the noise-free expectation of either half
    defocus_um: float
    centres_px: np.ndarray  # (n, 2) float64: y, x of the particles; the first pixel's middle is 0


def simulate(settings, name):
    """Return the SimulatedMicrograph `name` for the `simulation` section of config.yaml.

    It depends only on the settings and the name, not on the number or order of micrographs.
    """
    generators = _generators(settings["seed"], name)
    defocus_um = generators["optics"].uniform(*sorted(settings["defocus_um"]))
    phase, centres_px = phase_image(settings, defocus_um, generators["particles"])
    counts = through_microscope(phase, settings, defocus_um)
    counts *= incident_electrons(settings) * transmission(settings, generators["ice"])
    truth = np.maximum(counts, 0).astype(np.float32)
    even, odd = (count_electrons(truth, generators[half]) for half in ("even", "odd"))
    return SimulatedMicrograph(even, odd, truth, defocus_um, centres_px)


def count_electrons(expected, generator):
    """Return Poisson counts with that expectation, (H, W) float32; row by row, to save memory."""
    counts = np.empty_like(expected)
    for row, expected_row in zip(counts, expected, strict=True):
        row[:] = generator.poisson(expected_row)
    return counts


def _generators(seed, name):
    """Return one random generator for each independent choice, from the seed and the name."""
    digest = hashlib.sha256(name.encode()).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    purposes = ("optics", "particles", "ice", "even", "odd")
    children = np.random.SeedSequence([seed, *words]).spawn(len(purposes))
    return {
        purpose: np.random.Generator(np.random.PCG64(child))
        for purpose, child in zip(purposes, children, strict=True)
    }


def incident_electrons(settings):
    """Return the electrons that fall on a pixel in one half: half of the dose."""
    return settings["dose_e_per_a2"] / 2 * settings["pixel_size_angstrom"] ** 2


def particle_phase_rad_angstrom2(voltage_kv):
    """Return the phase shift of one particle, integrated over its image (rad * angstrom^2)."""
    volume_angstrom3 = MASS_DALTON * PROTEIN_ANGSTROM3_PER_DALTON
    sigma = interaction_constant_rad_per_v_angstrom(voltage_kv)
    return sigma * EXCESS_POTENTIAL_V * volume_angstrom3


def margin_px(settings, defocus_um):
    """Return how much wider than the micrograph the image is formed, on every side.

    The margin is half a particle plus the delocalisation of the finest detail. A smaller one
    would let the Fourier transform wrap the opposite border into the image.
    """
    pixel = settings["pixel_size_angstrom"]
    finest = min(0.5 / pixel, 0.2)  # per angstrom; the envelope leaves little beyond
    reach = delocalisation_angstrom(
        finest, defocus_um=defocus_um, voltage_kv=settings["voltage_kv"]
    )
    return math.ceil((RADIUS_ANGSTROM + reach) / pixel)


def phase_image(settings, defocus_um, generator):
    """Return the phase (rad) of particles in random places and orientations, and their centres.

    The phase is (H + 2 margin, W + 2 margin) float32, enlarged a little to a size that transforms
    fast; the centres are (n, 2) float64, y and x, in pixels of the micrograph.
    """
    pixel = settings["pixel_size_angstrom"]
    height, width = settings["height_px"], settings["width_px"]
    margin = margin_px(settings, defocus_um)
    image = np.zeros([fast_length(side + 2 * margin) for side in (height, width)], np.float32)
    count = settings["particles"]
    centres = random_centres(count, height * pixel, width * pixel, generator)  # (n, 2)
    rotations = random_rotations(count, generator)  # (n, 3, 3)
    weight = particle_phase_rad_angstrom2(settings["voltage_kv"]) / pixel**2
    blobs = proteasome()  # (560, 3)
    radius = math.ceil(RADIUS_ANGSTROM / pixel)
    for centre, rotation in zip(centres, rotations, strict=True):
        position = centre / pixel + margin
        corner = np.floor(position).astype(int) - radius
        offset = position - np.floor(position)
        stamp = project(blobs @ rotation.T, offset, pixel, 2 * radius + 1)
        window = tuple(slice(start, start + 2 * radius + 1) for start in corner)
        image[window] += weight * stamp
    return image, centres / pixel


def through_microscope(phase, settings, defocus_um):
    """Return the contrast I/I0 = 1 + 2 phase * CTF, the middle (H, W) of `phase`, float32."""
    pixel = settings["pixel_size_angstrom"]
    fy = np.fft.fftfreq(phase.shape[0], pixel)[:, None]
    fx = np.fft.rfftfreq(phase.shape[1], pixel)[None, :]
    frequency = np.sqrt(fy * fy + fx * fx).astype(np.float32)  # per angstrom
    transfer = contrast_transfer(
        frequency,
        defocus_um=defocus_um,
        voltage_kv=settings["voltage_kv"],
        spherical_aberration_mm=settings["spherical_aberration_mm"],
        amplitude_contrast=settings["amplitude_contrast"],
    )
    transfer *= 2 * envelope(frequency, B_FACTOR_ANGSTROM2)
    contrast = np.fft.irfft2(np.fft.rfft2(phase) * transfer, s=phase.shape)
    margin = margin_px(settings, defocus_um)
    rows, columns = (slice(margin, margin + settings[key]) for key in ("height_px", "width_px"))
    return 1 + contrast[rows, columns]


def transmission(settings, generator):
    """Return the fraction of electrons that ice lets through, (H, W) float32.

    Its thickness rises linearly, in a random direction, between the two ends given.
    """
    height, width = settings["height_px"], settings["width_px"]
    angle = generator.uniform(0, 2 * np.pi)
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    along = y * np.float32(np.sin(angle)) + x * np.float32(np.cos(angle))
    span = np.float32(abs(np.sin(angle)) + abs(np.cos(angle)))  # from corner to corner
    thin, thick = settings["ice_thickness_nm"]
    thickness_nm = thin + (thick - thin) * (along / span + np.float32(0.5))
    return np.exp(thickness_nm * np.float32(-1 / MEAN_FREE_PATH_NM))


def fast_length(length_px):
    """Return the least number >= length_px with no prime factor above 5, which transforms fast."""
    while True:
        rest = length_px
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length_px
        length_px += 1
