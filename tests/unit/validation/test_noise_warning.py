"""The word of warning of `clearice denoise`: it needs no other half."""

import numpy as np
import pytest

from affine import affine_of
from clearice.model.networks import build_network
from clearice.model.weights import load_model
from clearice.validation.noise_warning import measured_response, noise_warning
from clearice.validation.spectra import noise_floor, radial_power_spectrum
from mrc_files import write_mrc


def discs(shape, contrast, seed=0):
    """Return dark discs of 24 px in white noise of unit variance."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = generator.normal(size=shape)
    for cy, cx in generator.uniform(0, shape, (30, 2)):
        image -= contrast / (1 + np.exp((np.hypot(y - cy, x - cx) - 12) / 1.5))
    return image.astype(np.float32)


def response_of(tmp_path, image, network=None):
    path = write_mrc(tmp_path / "a.mrc", image)
    network = network or load_model("general")[0]
    return measured_response(network, path, *affine_of(image), "cpu")


def test_particles_that_stand_out_are_not_doubted(tmp_path):
    response = response_of(tmp_path, discs((512, 512), contrast=0.8))
    assert response < 0.02
    assert noise_warning("a.mrc", response) is None


def test_an_image_of_noise_is_warned_of(tmp_path):
    response = response_of(tmp_path, discs((512, 512), contrast=0.0))
    assert response > 0.4
    assert "a.mrc: too little signal" in noise_warning("a.mrc", response)


def test_a_network_that_sees_little_is_not_judged(tmp_path):
    network = build_network("simple_cnn")
    assert response_of(tmp_path, discs((64, 64), 1.0), network) is None
    assert noise_warning("a.mrc", None) is None


def test_a_network_that_draws_nothing_is_warned_of():
    assert "draws nothing at all" in noise_warning("a.mrc", float("nan"))


@pytest.mark.parametrize("blur_px", [0.0, 0.5])
def test_the_noise_floor_goes_on_under_the_signal(blur_px):
    """Under a strong signal at low frequencies, for white noise and for noise that falls."""
    shape = (512, 512)
    frequencies = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512)[None])
    white = np.fft.rfft2(np.random.default_rng(0).normal(size=shape))
    fall = np.exp(-2 * (np.pi * blur_px * frequencies) ** 2)
    signal = (
        20
        * np.exp(-((frequencies / 0.03) ** 2))
        * np.fft.rfft2(np.random.default_rng(1).normal(size=shape))
    )
    image = np.fft.irfft2(white * fall + signal, s=shape)
    frequency, power = radial_power_spectrum(image)
    floor = noise_floor(frequency, power)
    expected = np.exp(-((2 * np.pi * blur_px * frequency) ** 2))
    np.testing.assert_allclose(floor[1:], expected[1:], rtol=0.15)
    assert power[3] > 100 * floor[3]
