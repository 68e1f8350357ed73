import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from clearice.shards.targets import gaussian_weights, lowpass_blocks, noisy_blocks
from mrc_files import noise_image


def in_blocks(image, heights):
    """Yield the rows of the image in blocks of those heights, over and over, in one buffer."""
    first, turn = 0, 0
    while first < len(image):
        block = image[first : first + heights[turn % len(heights)]].copy()
        yield block
        first, turn = first + len(block), turn + 1
        block[:] = np.nan  # what comes later must not look back


def joined(blocks):
    return np.concatenate([block.copy() for block in blocks])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 70),
    st.sampled_from([0.2, 0.6, 1.0, 2.0, 3.7, 12.0]),
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
)
def test_lowpass_in_blocks_is_scipys_filter_of_the_whole_image(height, width, sigma_px, heights):
    image = noise_image(height, width, seed=height)
    smoothed = joined(lowpass_blocks(in_blocks(image, heights), height, sigma_px))
    expected = gaussian_filter(image, sigma_px)
    np.testing.assert_allclose(smoothed, expected, rtol=2e-7)  # one unit in the last place
    whole = joined(lowpass_blocks(in_blocks(image, [height]), height, sigma_px))
    np.testing.assert_array_equal(smoothed, whole)


def test_lowpass_crosses_the_seams_of_its_pieces():
    image = noise_image(40, 2500)  # three pieces of columns
    smoothed = joined(lowpass_blocks(in_blocks(image, [17]), 40, 2.0))
    np.testing.assert_allclose(smoothed, gaussian_filter(image, 2.0), rtol=2e-7)


def test_the_gaussian_sums_to_one_and_keeps_the_mean():
    weights = gaussian_weights(2.0)
    assert len(weights) == 9
    assert weights[0] + 2 * weights[1:].sum() == pytest.approx(1, abs=1e-15)
    flat = np.full((30, 40), 7.25, np.float32)
    np.testing.assert_allclose(joined(lowpass_blocks([flat], 30, 3.0)), flat, rtol=1e-7)


def noise_of(image, heights, name="m", seed=0, std=1.0):
    return joined(noisy_blocks(in_blocks(image, heights), name, seed, std)) - image


def test_noise_depends_on_seed_and_name_and_on_no_blocks():
    blank = np.zeros((61, 50), np.float32)
    noise = noise_of(blank, [61])
    for heights in ([1], [7, 3], [40]):
        np.testing.assert_array_equal(noise_of(blank, heights), noise)
    assert not np.array_equal(noise_of(blank, [61], seed=1), noise)
    assert not np.array_equal(noise_of(blank, [61], name="n"), noise)


def test_noise_is_white_and_gaussian_with_the_asked_deviation():
    blank = np.zeros((400, 500), np.float32)
    noise = noise_of(blank, [64], std=2.5).astype(np.float64)
    count = noise.size
    assert abs(noise.mean()) < 5 * 2.5 / count**0.5
    assert noise.std() == pytest.approx(2.5, rel=5 / (2 * count) ** 0.5)
    assert (noise**4).mean() / noise.var() ** 2 == pytest.approx(3, abs=5 * (24 / count) ** 0.5)
    for shifted in (np.roll(noise, 1, axis=0), np.roll(noise, 1, axis=1)):
        assert abs((noise * shifted).mean() / noise.var()) < 5 / count**0.5


def test_noise_is_added_to_the_image():
    image = noise_image(20, 30)
    noisy = joined(noisy_blocks(in_blocks(image, [6]), "m", 0, 0.5))
    blank = np.zeros_like(image)
    np.testing.assert_array_equal(noisy, noise_of(blank, [20], std=0.5) + image)
