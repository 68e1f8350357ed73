import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affine import affine_of
from clearice.micrographs.normalisation import RowStatistics, median, normalise


def statistics_of(image, block_rows):
    statistics = RowStatistics()
    for first in range(0, len(image), block_rows):
        statistics.add(image[first : first + block_rows])
    return statistics.result()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 70),
    st.sampled_from([(0.0, 1.0), (1e4, 3.0), (-5e6, 1.0), (3e-5, 1e-6)]),
    st.integers(0, 99),
)
def test_statistics_equal_the_whole_image_in_float64(height, width, scale, seed):
    mean, std = scale
    image = np.random.default_rng(seed).normal(mean, std, (height, width)).astype(np.float32)
    result = statistics_of(image, 7)
    wide = image.astype(np.float64)
    assert result.mean == pytest.approx(wide.mean(), rel=1e-12)
    assert result.std == pytest.approx(wide.std(), rel=1e-9, abs=1e-12)
    assert (result.minimum, result.maximum) == (image.min(), image.max())
    location, spread = affine_of(image)
    assert result.location == pytest.approx(location, rel=1e-6, abs=1e-12)
    assert result.scale == pytest.approx(spread, rel=1e-5, abs=1e-12)


def test_statistics_do_not_depend_on_how_rows_arrive():
    image = np.random.default_rng(0).normal(100, 7, (101, 9001)).astype(np.float32)
    results = {statistics_of(image, rows) for rows in (1, 2, 13, 50, 101)}
    assert len(results) == 1


def test_the_difference_is_taken_in_float64():
    first = np.full((4, 5), 1e8, np.float32)
    second = np.ones((4, 5), np.float32)
    statistics = RowStatistics()
    statistics.add_difference(first, second)
    assert statistics.result().mean == 1e8 - 1


def test_a_dark_crystal_changes_neither_location_nor_scale():
    image = np.random.default_rng(1).normal(500, 20, (256, 512)).astype(np.float32)
    clean = statistics_of(image, 16)
    image[20:140, 30:200] -= 400  # a sixth of the area
    result = statistics_of(image, 16)
    assert result.std > 6 * clean.std
    assert result.location == pytest.approx(clean.location, abs=1)
    assert result.scale == pytest.approx(clean.scale, rel=0.02)


def test_an_image_of_mostly_constant_pieces_is_scaled_by_its_standard_deviation():
    image = np.zeros((8, 128), np.float32)
    image[0, :64] = np.arange(64)
    result = statistics_of(image, 3)
    assert (result.location, result.scale) == (0, result.std)


def test_a_normalised_image_has_mean_0_and_standard_deviation_1():
    image = np.random.default_rng(1).normal(500, 20, (200, 300)).astype(np.float32)
    result = statistics_of(image, 16)
    rows = normalise(image, result.mean, result.std)
    assert rows.dtype == np.float32
    assert abs(rows.mean(dtype=np.float64)) < 1e-5
    assert rows.std(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    in_place = image.copy()
    assert normalise(in_place, result.mean, result.std, out=in_place) is in_place
    np.testing.assert_array_equal(in_place, rows)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 4096, 4097])
def test_the_median_is_that_of_numpy(count, dtype):
    generator = np.random.default_rng(count)
    for values in generator.normal(1000, 1, count), generator.integers(0, 3, count):
        values = values.astype(dtype)
        assert median(values) == float(np.median(values))
    values[0] = np.nan
    assert np.isnan(median(values))


def test_an_affine_forgets_the_scale_of_the_counts():
    image = np.random.default_rng(2).normal(0, 1, (64, 64)).astype(np.float32)
    scaled = image * 8 + 64  # exact in float32 but for rounding of the sum
    first, second = statistics_of(image, 9), statistics_of(scaled, 9)
    np.testing.assert_allclose(
        normalise(image, first.mean, first.std),
        normalise(scaled, second.mean, second.std),
        atol=1e-5,
    )
