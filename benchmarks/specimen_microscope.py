"""The microscope, ice and detector of benchmarks/specimens.py: from points to counts.

`recipe` is a specimens.Recipe, images are (H, W) float64.
"""

import math

import numpy as np
from scipy import ndimage

BLOB_SIGMA_ANGSTROM = 2.2  # of a residue


def splat(points_px, weights, side):
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


def phase_image(recipe, phase):
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


def expose(recipe, truth, rng):
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


def ice(recipe, size_px, rng):
    """Return ice of uneven thickness, (size, size): darker towards one side."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size_px, :size_px] / size_px - 0.5
    slope = y * math.sin(angle) + x * math.cos(angle)
    return recipe.gradient * (slope + 0.4 * slope**2)


def obstacles(recipe, size_px, rng):
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
