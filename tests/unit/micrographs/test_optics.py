"""The microscope: constants against published values, the CTF against a wave sent through it."""

import numpy as np
import pytest

from clearice.micrographs.simulation.optics import (
    contrast_transfer,
    delocalisation_angstrom,
    electron_wavelength_angstrom,
    envelope,
    interaction_constant_rad_per_v_angstrom,
)

LENS = {"voltage_kv": 300, "spherical_aberration_mm": 2.7}


@pytest.mark.parametrize(
    ("voltage_kv", "wavelength_angstrom", "sigma_rad_per_v_angstrom"),
    [(100, 0.03701, 9.244e-4), (200, 0.02508, 7.288e-4), (300, 0.01969, 6.526e-4)],
)
def test_constants_are_those_of_the_tables(
    voltage_kv, wavelength_angstrom, sigma_rad_per_v_angstrom
):
    assert electron_wavelength_angstrom(voltage_kv) == pytest.approx(wavelength_angstrom, rel=5e-4)
    sigma = interaction_constant_rad_per_v_angstrom(voltage_kv)
    assert sigma == pytest.approx(sigma_rad_per_v_angstrom, rel=5e-4)


@pytest.mark.parametrize("defocus_um", [0.5, 1.2, 2.5])
@pytest.mark.parametrize("amplitude_contrast", [0.0, 0.07, 0.1])
def test_zeros_lie_where_the_formula_says(defocus_um, amplitude_contrast):
    wavelength = electron_wavelength_angstrom(300)
    aberration, defocus = 2.7e7, defocus_um * 1e4
    # chi + asin(A) = n pi is a quadratic equation in the squared frequency.
    order = np.arange(1, 6) - np.arcsin(amplitude_contrast) / np.pi
    squared = (defocus - np.sqrt(defocus**2 - 2 * aberration * wavelength * order)) / (
        aberration * wavelength**2
    )
    zeros = np.sqrt(squared)  # per angstrom
    settings = {**LENS, "defocus_um": defocus_um, "amplitude_contrast": amplitude_contrast}
    np.testing.assert_allclose(contrast_transfer(zeros, **settings), 0, atol=1e-9)
    between = contrast_transfer(np.sqrt((squared[1:] + squared[:-1]) / 2), **settings)
    assert (np.abs(between) > 0.9).all()
    assert (np.sign(between[1:]) == -np.sign(between[:-1])).all()


def test_first_zero_of_1_5_um_underfocus_is_near_17_angstrom():
    frequency = np.linspace(0.01, 0.1, 100_000)
    values = contrast_transfer(frequency, defocus_um=1.5, amplitude_contrast=0.1, **LENS)
    first = frequency[np.flatnonzero(np.diff(np.sign(values)))[0]]
    assert 1 / first == pytest.approx(17.4, abs=0.2)


@pytest.mark.parametrize("amplitude_contrast", [0.0, 0.07, 1.0])
def test_only_amplitude_contrast_is_left_at_frequency_zero(amplitude_contrast):
    value = contrast_transfer(0.0, defocus_um=2, amplitude_contrast=amplitude_contrast, **LENS)
    assert value == pytest.approx(-amplitude_contrast, abs=1e-12)


@pytest.mark.parametrize("period_angstrom", [8.0, 20.0, 45.0, 90.0])
@pytest.mark.parametrize("amplitude_contrast", [0.0, 0.1])
def test_a_wave_sent_through_the_lens_gets_the_contrast_of_the_ctf(
    period_angstrom, amplitude_contrast
):
    """An independent derivation: a weak complex object, the aberration phase, and |wave|^2."""
    defocus, cs, wavelength = 1.5e4, 2.7e7, electron_wavelength_angstrom(300)
    strength = 1e-4  # so weak that second order is nothing
    x = np.arange(512) * period_angstrom / 64  # eight periods
    wanted = np.cos(2 * np.pi * x / period_angstrom)
    phase = np.sqrt(1 - amplitude_contrast**2) * strength * wanted
    absorption = amplitude_contrast * strength * wanted
    k = np.fft.fftfreq(512, period_angstrom / 64)
    # Underfocus advances, aberration delays: chi as in International Tables C, 4.3.8.
    lens = np.exp(
        1j * (np.pi * wavelength * defocus * k**2 - 0.5 * np.pi * cs * wavelength**3 * k**4)
    )
    wave = np.fft.ifft(np.fft.fft(np.exp(1j * phase - absorption)) * lens)
    modulation = 2 * np.mean((np.abs(wave) ** 2 - 1) * wanted)
    expected = (
        2
        * strength
        * contrast_transfer(
            1 / period_angstrom, defocus_um=1.5, amplitude_contrast=amplitude_contrast, **LENS
        )
    )
    assert modulation == pytest.approx(expected, abs=5e-3 * strength)


def test_envelope_leaves_low_frequencies_and_halves_the_amplitude_at_six_angstrom():
    assert envelope(0.0, 100) == 1
    assert envelope(1 / 6, 100) == pytest.approx(0.5, abs=0.01)
    assert envelope(1 / 100, 100) > 0.99


def test_detail_moves_by_the_angle_of_its_diffraction_times_the_defocus():
    moved = delocalisation_angstrom(1 / 5, defocus_um=2, voltage_kv=300)
    assert moved == pytest.approx(0.01969 / 5 * 2e4, rel=1e-3)
