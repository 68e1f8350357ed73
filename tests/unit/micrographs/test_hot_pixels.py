import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import generic_filter

from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.pixels.hot_pixels import HotPixels, local_std
from mrc_files import noise_image, write_mrc

AROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)


def clean(image, limit, block_rows):
    hot = HotPixels(limit, len(image))
    blocks = (image[y : y + block_rows].copy() for y in range(0, len(image), block_rows))
    return np.concatenate([rows.copy() for rows in hot.blocks(blocks)]), hot.count


def expected(image, limit):
    """The rule on the whole image; scipy's mirror is the border without the edge repeated."""
    medians = generic_filter(image.astype(np.float32), np.median, footprint=AROUND, mode="mirror")
    hot = np.abs(image - medians) > np.float32(limit)
    return np.where(hot, medians, image), int(hot.sum())


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 40), st.integers(2, 30), st.integers(2, 13), st.sampled_from([1.0, 4.0, 20.0])
)
def test_streamed_rule_equals_the_whole_image(height, width, block_rows, limit):
    image = noise_image(height, width, seed=height * 31 + width)
    image[height // 2, width // 3] += 1000
    image[0, 0] -= 500
    cleaned, count = clean(image, limit, block_rows)
    whole, whole_count = expected(image, limit)
    np.testing.assert_array_equal(cleaned, whole)
    assert count == whole_count >= 1


def test_hot_pixels_go_and_the_rest_stays():
    image = noise_image(200, 200)
    hot = image.copy()
    places = [(0, 0), (0, 199), (199, 50), (77, 88), (100, 0)]
    for y, x in places:
        hot[y, x] = 1e4
    cleaned, count = clean(hot, 6 * 2.0 * 1.1, 17)
    assert count == len(places)
    untouched = np.ones(image.shape, bool)
    untouched[tuple(zip(*places, strict=True))] = False
    np.testing.assert_array_equal(cleaned[untouched], image[untouched])
    assert np.abs(cleaned - 10).max() < 6 * 2.0


def test_the_local_deviation_sees_neither_hot_pixels_nor_slow_changes(tmp_path):
    image = noise_image(300, 400, std=2.0)
    # median of 8 neighbours: variance of the difference is that of a pixel and a little more
    clean_std = local_std(open_micrograph(write_mrc(tmp_path / "a.mrc", image)))
    assert 2.0 < clean_std < 2.0 * 1.2
    image += np.linspace(0, 1000, 400, dtype=np.float32)
    image[::10, ::10] = 1e6
    spoilt_std = local_std(open_micrograph(write_mrc(tmp_path / "b.mrc", image)))
    assert spoilt_std == pytest.approx(clean_std, rel=0.15)


def test_sparse_counts_have_a_deviation_and_flat_images_none(tmp_path):
    image = np.zeros((60, 60), np.float32)
    assert local_std(open_micrograph(write_mrc(tmp_path / "a.mrc", image))) == math.inf
    image[1::4, ::3] = 1
    assert 0 < local_std(open_micrograph(write_mrc(tmp_path / "b.mrc", image))) < 1


def test_a_first_block_of_one_row_is_refused():
    with pytest.raises(ValueError, match="two rows"):
        list(HotPixels(1.0, 4).blocks([np.zeros((1, 4), np.float32)]))
