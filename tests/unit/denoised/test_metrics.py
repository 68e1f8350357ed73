"""What metrics say of a noisy pair, streamed or whole."""

import numpy as np
import pytest

from clearice.denoised.metrics import PairMoments, compare_micrographs
from memory_images import MemoryReader, noisy_pair


def test_streamed_moments_equal_those_of_the_whole():
    generator = np.random.default_rng(0)
    first = generator.normal(1e4, 1, (300, 70))
    second = first + generator.normal(0.5, 2, first.shape)
    moments = PairMoments()
    for top in (0, 7, 100, 299):
        bottom = {0: 7, 7: 100, 100: 299, 299: 300}[top]
        moments.add(first[top:bottom], second[top:bottom])
    assert moments.mean_first == pytest.approx(first.mean(), rel=1e-14)
    assert moments.variance_first == pytest.approx(first.var(), rel=1e-9)
    assert moments.mse == pytest.approx(np.mean((first - second) ** 2), rel=1e-9)
    assert moments.correlation == pytest.approx(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def test_metrics_of_a_perfect_denoiser():
    truth, raw, target = noisy_pair()
    images = {"raw": raw, "denoised": truth, "target": target, "truth": truth}
    metrics = compare_micrographs({n: MemoryReader(i) for n, i in images.items()}, window_px=128)
    pairs = metrics["pairs"]
    assert metrics["window_px"] == 128
    assert metrics["windows"] == 9
    assert pairs["raw_truth"]["mse"] == pytest.approx(1.0, rel=0.02)
    assert pairs["raw_truth"]["psnr_db"] == pytest.approx(
        10 * np.log10(np.ptp(truth) ** 2), abs=0.1
    )
    assert pairs["denoised_truth"]["mse"] == 0
    assert pairs["denoised_truth"]["psnr_db"] is None
    assert pairs["raw_target"]["mse"] == pytest.approx(2.0, rel=0.02)
    assert pairs["denoised_target"]["mse"] == pytest.approx(1.0, rel=0.02)
    assert pairs["denoised_target"]["correlation"] > pairs["raw_target"]["correlation"] + 0.1
    assert metrics["statistics"]["raw"]["std"] == pytest.approx(raw.std(), rel=1e-6)
    assert len(metrics["frequency_per_px"]) == len(pairs["raw_target"]["frc"]) == 65


def test_a_constant_output_earns_nothing():
    """f(even) against f(odd) would call this network perfect."""
    _truth, raw, target = noisy_pair()
    images = {"raw": raw, "denoised": np.full_like(raw, 50), "target": target}
    metrics = compare_micrographs({n: MemoryReader(i) for n, i in images.items()})
    assert metrics["pairs"]["denoised_target"]["correlation"] is None
    assert set(metrics["pairs"]["denoised_target"]["frc"]) == {None}
    assert set(metrics["pairs"]) == {"raw_target", "denoised_target"}


def test_a_micrograph_without_target_or_truth_has_statistics_only():
    raw = np.random.default_rng(0).normal(3, 2, (64, 64))
    readers = {"raw": MemoryReader(raw), "denoised": MemoryReader(raw / 2)}
    metrics = compare_micrographs(readers)
    assert metrics["pairs"] == {}
    assert metrics["statistics"]["denoised"]["std"] == pytest.approx(raw.std() / 2, rel=1e-6)
