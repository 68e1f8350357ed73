"""Electron optics: wavelength, interaction constant, contrast transfer function (CTF)."""

import math

import numpy as np

_REST_ENERGY_KEV = 510.99895  # of the electron (CODATA 2018)
_HC_KEV_ANGSTROM = 12.398420  # Planck constant times the speed of light


def electron_wavelength_angstrom(voltage_kv):
    """Return the relativistic wavelength: 0.0197 angstrom at 300 kV."""
    return _HC_KEV_ANGSTROM / math.sqrt(voltage_kv * (voltage_kv + 2 * _REST_ENERGY_KEV))


def interaction_constant_rad_per_v_angstrom(voltage_kv):
    """Return the phase that one volt over one angstrom adds: 6.53e-4 rad at 300 kV.

    sigma = 2 pi m e lambda / h^2 with the relativistic mass (Kirkland, Advanced Computing in
    Electron Microscopy, 2010, eq. 5.6).
    """
    volts = voltage_kv * 1e3
    relativity = (_REST_ENERGY_KEV + voltage_kv) / (2 * _REST_ENERGY_KEV + voltage_kv)
    return 2 * math.pi / (electron_wavelength_angstrom(voltage_kv) * volts) * relativity


def contrast_transfer(
    frequency_per_angstrom, *, defocus_um, voltage_kv, spherical_aberration_mm, amplitude_contrast
):
    """Return the CTF at spatial frequencies (1/angstrom), an array of their shape.

        CTF(k) = -sin(chi + asin(A)),  chi = pi lambda k^2 (defocus - lambda^2 k^2 Cs / 2)

    with underfocus positive and A the amplitude contrast: Wade, Ultramicroscopy 46 (1992) 145;
    Rohou & Grigorieff, J. Struct. Biol. 192 (2015) 216, eqs. 1-3. CTF(0) = -A: matter that
    adds phase looks dark.
    """
    wavelength = electron_wavelength_angstrom(voltage_kv)
    squared = np.square(frequency_per_angstrom)
    defocus_angstrom = defocus_um * 1e4
    aberration_angstrom = spherical_aberration_mm * 1e7
    chi = (
        math.pi
        * wavelength
        * squared
        * (defocus_angstrom - 0.5 * wavelength**2 * aberration_angstrom * squared)
    )
    return -np.sin(chi + math.asin(amplitude_contrast))


def envelope(frequency_per_angstrom, b_factor_angstrom2):
    """Return exp(-B k^2 / 4), which combines motion, radiation damage and partial coherence."""
    return np.exp(-0.25 * b_factor_angstrom2 * np.square(frequency_per_angstrom))


def delocalisation_angstrom(frequency_per_angstrom, *, defocus_um, voltage_kv):
    """Return how far defocus moves detail of that frequency: lambda k defocus.

    This is the gradient of chi over 2 pi without the aberration, which opposes it at underfocus.
    """
    wavelength = electron_wavelength_angstrom(voltage_kv)
    return wavelength * frequency_per_angstrom * defocus_um * 1e4
