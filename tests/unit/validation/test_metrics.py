"""What the metrics say of images whose answers are known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from clearice.validation.metrics import PairMoments, StructuralSimilarity, snr_db


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
    assert moments.variance_second == pytest.approx(second.var(), rel=1e-9)
    covariance = np.cov(first.ravel(), second.ravel(), ddof=0)[0, 1]
    assert moments.covariance == pytest.approx(covariance, rel=1e-9)
    assert moments.mse == pytest.approx(np.mean((first - second) ** 2), rel=1e-9)
    assert moments.correlation == pytest.approx(np.corrcoef(first.ravel(), second.ravel())[0, 1])


@pytest.mark.parametrize("ratio", [0.07, 1.0, 10.0])
def test_the_snr_is_one_plus_the_ratio_of_variances(ratio):
    generator = np.random.default_rng(0)
    truth = generator.normal(0, np.sqrt(ratio), 1_000_000)
    correlation = np.corrcoef(truth, -3 * (truth + generator.normal(size=truth.size)) + 7)[0, 1]
    assert snr_db(correlation) == pytest.approx(10 * np.log10(1 + ratio), abs=0.02)
    assert snr_db(1.0) is None
    assert snr_db(float("nan")) is None


def test_structural_similarity_follows_its_definition():
    generator = np.random.default_rng(0)
    truth = gaussian_filter(generator.normal(900, 30, (60, 80)), 2)
    image = truth + generator.normal(0, 2, truth.shape)
    span = float(np.ptp(truth))
    similarity = StructuralSimilarity(span)
    similarity.add(image, truth)

    def mean(values):
        return gaussian_filter(values, 1.5, radius=5)

    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    x, y = mean(image), mean(truth)
    variance_x, variance_y = mean(image**2) - x * x, mean(truth**2) - y * y
    covariance = mean(image * truth) - x * y
    expected = (2 * x * y + c1) * (2 * covariance + c2)
    expected /= (x * x + y * y + c1) * (variance_x + variance_y + c2)
    assert similarity.mean == pytest.approx(expected[5:-5, 5:-5].mean(), abs=2e-4)
    same = StructuralSimilarity(span)
    same.add(truth, truth)
    assert same.mean == pytest.approx(1.0, abs=1e-6)
