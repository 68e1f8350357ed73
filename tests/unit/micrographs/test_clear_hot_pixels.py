"""What is clearly hot goes, and nothing that a specimen or chance makes."""

import math

import numpy as np
import pytest

from clearice.micrographs.pixels.clear_hot_pixels import ClearHotPixels
from mrc_files import noise_image


def cleaned(image, block_rows=16):
    hot = ClearHotPixels()
    image = np.asarray(image, np.float32)
    blocks = (image[y : y + block_rows].copy() for y in range(0, len(image), block_rows))
    return np.concatenate([rows.copy() for rows in hot.blocks(blocks)]), hot


PLACES = {
    "inside": [(70, 88)],
    "corners": [(0, 0), (0, 199), (159, 0), (159, 199)],
    "borders of blocks": [(15, 40), (16, 90), (31, 3), (144, 7)],
    "a pair across a border of blocks": [(15, 40), (16, 40)],
    "a diagonal pair": [(50, 50), (51, 51)],
}


@pytest.mark.parametrize("value", [1e3, -1e3, 3e5, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("where", PLACES)
def test_single_pixels_and_pairs_become_the_median_of_their_neighbours(where, value):
    image = noise_image(160, 200)
    spoilt = image.copy()
    for y, x in PLACES[where]:
        spoilt[y, x] = value
    result, hot = cleaned(spoilt)
    assert hot.count == len(PLACES[where])
    assert hot.not_finite == (0 if math.isfinite(value) else hot.count)
    assert hot.left == hot.impossible == 0
    changed = np.argwhere(result != image)
    assert {tuple(place) for place in changed.tolist()} == set(PLACES[where])
    assert np.abs(result - 10).max() < 12


def test_a_last_block_of_one_row_is_cleaned_as_well():
    image = noise_image(161, 200)
    image[160, 30] = 1e4
    _, hot = cleaned(image)
    assert hot.count == 1


@pytest.mark.parametrize(
    "per_pixel", [0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 3, 10, 1000]
)
def test_no_electron_of_a_count_is_hot(per_pixel):
    counts = np.random.default_rng(int(1e4 * per_pixel)).poisson(per_pixel, (2000, 2000))
    result, hot = cleaned(counts, block_rows=65)
    assert hot.count == 0
    np.testing.assert_array_equal(result, counts)


def test_a_hot_pixel_of_a_sparse_count_is_hot():
    counts = np.random.default_rng(0).poisson(0.1, (300, 300))
    counts[100, 100] = 200
    _, hot = cleaned(counts)
    assert hot.count == 1


def sharp_objects():
    y, x = np.mgrid[:256, :256]
    disc = np.hypot(y - 100, x - 90) < 25
    square = (abs(y - 128) < 40) & (abs(x - 128) < 40)
    line = y == 77
    return {"bead": disc, "square": square, "line": line}


@pytest.mark.parametrize("contrast", [-40, 40, 150])  # noise levels
@pytest.mark.parametrize("shape", ["bead", "square", "line"])
def test_the_sharpest_edge_stays(shape, contrast):
    image = noise_image(256, 256, std=1.0) + contrast * sharp_objects()[shape]
    result, hot = cleaned(image)
    assert hot.count == 0
    np.testing.assert_array_equal(result, image.astype(np.float32))


def test_connected_pixels_that_are_not_finite_are_left_and_counted():
    image = noise_image(128, 128)
    image[40:44, 50:55] = np.nan
    result, hot = cleaned(image)
    assert hot.left > 0
    assert hot.left + hot.not_finite == 20
    assert (hot.first_not_finite, hot.last_not_finite) == ((40, 50), 43)
    assert np.isfinite(result).all()


def test_blank_rows_hide_no_hot_pixel_of_a_picture():
    image = noise_image(128, 256)
    image[:60] = 0
    image[100, 100] = 1e4
    _, hot = cleaned(image, block_rows=128)
    assert hot.count == 1


def test_the_extremes_are_those_before_the_replacement():
    image = noise_image(64, 64)
    image[3, 3], image[9, 9], image[20, 20] = 1e5, -2e5, np.inf
    _, hot = cleaned(image)
    assert (hot.minimum, hot.maximum) == (-2e5, 1e5)


def test_the_rows_that_come_are_not_written_to():
    image = noise_image(64, 64)
    image[3, 3] = 1e5
    before = image.copy()
    list(ClearHotPixels().blocks([image]))
    np.testing.assert_array_equal(image, before)
