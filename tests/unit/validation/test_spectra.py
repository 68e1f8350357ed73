"""Fourier ring correlation and power spectra behave as their physics says."""

import numpy as np
import pytest

from clearice.validation.spectra import RingSums, fourier_ring_correlation, radial_power_spectrum


def white_noise(seed, shape=(256, 256)):
    return np.random.default_rng(seed).standard_normal(shape)


def band_limited(image, cutoff_per_px):
    """Keep the frequencies below the cutoff."""
    spectrum = np.fft.fft2(image)
    radius = np.hypot(
        np.fft.fftfreq(image.shape[0])[:, None], np.fft.fftfreq(image.shape[1])[None, :]
    )
    return np.fft.ifft2(np.where(radius < cutoff_per_px, spectrum, 0)).real


@pytest.mark.parametrize("shape", [(256, 256), (201, 260)])
def test_independent_noise_does_not_correlate(shape):
    _, correlation = fourier_ring_correlation(white_noise(1, shape), white_noise(2, shape))
    # a ring of n terms scatters by about 1 / sqrt(n); the taper halves the effective n or so
    assert np.abs(correlation[20:]).max() < 0.3
    assert abs(correlation[20:].mean()) < 0.02


def test_an_image_correlates_fully_with_itself_and_with_its_own_rescaling():
    image = white_noise(1)
    _, correlation = fourier_ring_correlation(image, -3 * image + 7)
    assert correlation[1:] == pytest.approx(-1, abs=1e-12)


@pytest.mark.parametrize("snr", [0.25, 1.0, 4.0])
def test_correlation_of_two_halves_is_snr_over_one_plus_snr(snr):
    signal = np.sqrt(snr) * white_noise(0, (512, 512))
    _, correlation = fourier_ring_correlation(
        signal + white_noise(1, (512, 512)), signal + white_noise(2, (512, 512))
    )
    assert correlation[40:].mean() == pytest.approx(snr / (1 + snr), abs=0.01)


def test_band_limited_signal_correlates_inside_its_band_only():
    signal = 5 * band_limited(white_noise(0), 0.2)
    frequency, correlation = fourier_ring_correlation(
        signal + white_noise(1), signal + white_noise(2)
    )
    assert correlation[(frequency > 0.05) & (frequency < 0.17)].min() > 0.85
    assert abs(correlation[frequency > 0.24].mean()) < 0.05


def test_a_radial_filter_changes_nothing():
    first, second = white_noise(1) + white_noise(0), white_noise(2) + white_noise(0)
    _, before = fourier_ring_correlation(first, second)
    radius = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)[None, :])
    smooth = np.fft.ifft2(np.fft.fft2(first) * np.exp(-np.square(radius / 0.2))).real
    _, after = fourier_ring_correlation(smooth, second)
    assert np.std(smooth) < 0.5 * np.std(first)
    assert after[10:] == pytest.approx(before[10:], abs=0.02)


def test_windows_added_one_by_one_average_the_ring_terms():
    rings = RingSums((64, 64), [("a", "b")])
    for seed in range(40):
        signal = white_noise(1000 + seed, (64, 64))
        rings.add(
            {
                "a": signal + white_noise(seed, (64, 64)),
                "b": signal + white_noise(500 + seed, (64, 64)),
            }
        )
    assert rings.windows == 40
    assert rings.correlation("a", "b")[5:] == pytest.approx(0.5, abs=0.06)


def test_a_constant_image_has_an_undefined_correlation_not_a_good_one():
    _, correlation = fourier_ring_correlation(np.full((64, 64), 3.0), white_noise(1, (64, 64)))
    assert np.isnan(correlation).all()


@pytest.mark.parametrize("shape", [(256, 256), (255, 301)])
def test_white_noise_has_its_variance_in_every_ring(shape):
    frequency, power = radial_power_spectrum(2 * white_noise(3, shape))
    assert frequency[-1] == pytest.approx(0.5, abs=0.002)
    assert power[10:].mean() == pytest.approx(4.0, rel=0.03)


def test_a_sine_wave_stands_in_its_own_ring():
    x = np.arange(256)
    image = np.broadcast_to(np.sin(2 * np.pi * x * 32 / 256), (256, 256))
    frequency, power = radial_power_spectrum(image)
    assert frequency[np.argmax(power)] == pytest.approx(32 / 256)
