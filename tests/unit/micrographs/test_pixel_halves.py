"""Two half-resolution images with independent noise, and when the noise is not."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from clearice.errors import InputError
from clearice.micrographs.halves.half_noise import HighFrequencyCorrelation
from clearice.micrographs.halves.pixel_halves import PixelHalf, require_independent
from memory_images import MemoryReader


def rows_of(reader, **blocks):
    return np.concatenate([rows.copy() for _, rows in reader.blocks(**blocks)])


@pytest.mark.parametrize("shape", [(40, 30), (41, 31), (2, 2), (15, 64)])
def test_a_half_is_the_mean_of_a_diagonal(shape):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    height, width = shape[0] // 2, shape[1] // 2
    blocks = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
    expected = (
        (blocks[:, 0, :, 0] + blocks[:, 1, :, 1]) / 2,
        (blocks[:, 0, :, 1] + blocks[:, 1, :, 0]) / 2,
    )
    for diagonal in (0, 1):
        half = PixelHalf(MemoryReader(image), diagonal)  # whose blocks have seven rows
        assert (half.height_px, half.width_px) == (height, width)
        np.testing.assert_allclose(rows_of(half), expected[diagonal], rtol=1e-6)
        firsts = [first for first, _ in half.blocks()]
        assert firsts == sorted(set(firsts))
        np.testing.assert_allclose(half.read_rows(0, 1), expected[diagonal][:1], rtol=1e-6)


def correlation_of(image):
    halves = [PixelHalf(MemoryReader(image), diagonal) for diagonal in (0, 1)]
    correlation = HighFrequencyCorrelation(halves[0].height_px, halves[0].width_px)
    for (_, first), (_, second) in zip(*(half.blocks() for half in halves), strict=True):
        correlation.add(first, second)
    return correlation.result()


def test_white_noise_is_accepted_whatever_lies_at_low_frequencies():
    noise = np.random.default_rng(0).normal(size=(1024, 1024))
    signal = 3 * gaussian_filter(np.random.default_rng(1).normal(size=(1024, 1024)), 5)
    correlation = correlation_of(noise + 3 * signal)
    assert abs(correlation) < 0.01
    assert require_independent(correlation, "a.mrc") == []


@pytest.mark.parametrize(("sigma_px", "refused"), [(0.35, False), (0.8, True)])
def test_noise_that_is_spread_over_neighbours_is_warned_of_or_refused(sigma_px, refused):
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(1024, 1024)), sigma_px)
    correlation = correlation_of(noise)
    if refused:
        with pytest.raises(InputError, match=r"a.mrc: .*not independent.*clearice denoise"):
            require_independent(correlation, "a.mrc")
    else:
        (warning,) = require_independent(correlation, "a.mrc")
        assert f"correlates at {correlation:.3f}" in warning


def test_neighbours_that_avoid_each_other_are_refused_as_well():
    noise = np.random.default_rng(0).normal(size=(512, 512))
    sharpened = noise - 0.3 * np.roll(noise, 1, 0) - 0.3 * np.roll(noise, 1, 1)
    with pytest.raises(InputError, match="found -0"):
        require_independent(correlation_of(sharpened), "a.mrc")
