"""The filters that a network must beat are what they say, and as good as they can be."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from clearice.validation import linear_filters
from clearice.validation.evidence import Filters, compare_tiles, ring_sums
from clearice.validation.images import tiles_of
from memory_images import MemoryRows

FREQUENCY_PER_PX = np.arange(400) / 512


def test_a_gaussian_in_tiles_is_that_of_the_whole_image():
    image = np.random.default_rng(0).normal(900, 30, (150, 180)).astype(np.float32)
    transfer = linear_filters.gaussian_transfer(FREQUENCY_PER_PX, 3.0)
    expected = gaussian_filter(image.astype(float), 3.0, mode="reflect", truncate=8)
    halo = linear_filters.HALO_PX
    for top, left, height, width, tile in tiles_of({"a": MemoryRows(image)}, 80, halo):
        inside = linear_filters.filtered(tile["a"], transfer, FREQUENCY_PER_PX, halo)
        there = expected[top : top + height, left : left + width]
        assert inside == pytest.approx(there, abs=0.02)  # 0.1 % of what the filter takes away


@pytest.fixture(scope="module")
def pair():
    """Images of a signal of which half the rings are known, in white noise."""
    generator = np.random.default_rng(0)
    truth = 4 * gaussian_filter(generator.normal(size=(512, 512)), 3.0, mode="wrap")
    raw, target = (truth + generator.normal(size=truth.shape) for _ in range(2))
    images = {"raw": raw, "denoised": raw, "target": target, "truth": truth}
    return {name: MemoryRows(image) for name, image in images.items()}


def test_the_wiener_filter_is_signal_over_signal_and_noise(pair):
    rings = ring_sums(pair)
    for judge in ("target", "truth"):
        filters = Filters(rings, judge)
        power = 16 * np.exp(-np.square(2 * np.pi * filters.frequency_per_px * 3.0))
        expected = power / (power + 1)
        assert filters.wiener[3:60] == pytest.approx(expected[3:60], abs=0.15)
        assert filters.wiener[100:].max() < 0.2


def test_no_gaussian_and_no_wiener_filter_of_another_width_is_better(pair):
    filters = {judge: Filters(ring_sums(pair), judge) for judge in ("target", "truth")}
    best, truth, _ = compare_tiles(pair, filters)
    raw, target = (pair[name].image.astype(float) for name in ("raw", "target"))
    errors = [
        np.square(gaussian_filter(raw, sigma, mode="reflect") - target).mean()
        for sigma in linear_filters.SIGMAS_PX[::2]
    ]
    assert best["mse"]["gaussian"] < min(errors) + 1e-3
    assert best["mse"]["wiener"] < best["mse"]["gaussian"]
    assert best["noise_floor"] == pytest.approx(1.0, abs=0.02)
    assert best["excess"]["raw"] == pytest.approx(1.0, abs=0.02)
    assert truth["snr_db"]["wiener"] > truth["snr_db"]["gaussian"] > truth["snr_db"]["raw"] + 5


def test_the_excess_against_the_other_half_is_the_error_against_the_truth(pair):
    filters = {judge: Filters(ring_sums(pair), judge) for judge in ("target", "truth")}
    target, truth, _ = compare_tiles(pair, filters)
    for name in ("raw", "wiener"):
        doubt = target["noise_floor_standard_error"]
        assert target["excess"][name] == pytest.approx(truth["mse"][name], abs=4 * doubt)
    assert target["gain_over_linear_db"] < -5  # the network is the identity
