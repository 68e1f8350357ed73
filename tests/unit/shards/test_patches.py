import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearice.shards.patches import PatchCutter, count_patches, patch_origins

GEOMETRY = st.tuples(
    st.integers(1, 12),  # patch side
    st.integers(1, 17),  # stride: smaller, equal and larger than the side
    st.integers(0, 30),  # rows beyond one patch
    st.integers(0, 30),  # columns beyond one patch
    st.booleans(),
)


def test_the_original_geometry():
    origins = patch_origins(7420, 7676, 1024, 512)
    assert origins.shape == (169, 2)
    assert origins[[0, 1, 13, 168]].tolist() == [[0, 0], [0, 512], [512, 0], [6144, 6144]]


@given(GEOMETRY)
def test_origins_lie_inside_in_raster_order_on_the_grid(geometry):
    size, stride, below, right, cover = geometry
    origins = patch_origins(size + below, size + right, size, stride, cover)
    assert (origins >= 0).all()
    assert (origins + size <= [size + below, size + right]).all()
    listed = list(map(tuple, origins.tolist()))
    assert listed == sorted(set(listed))
    on_grid = origins % stride == 0
    flush = origins == [below, right]
    assert (on_grid | (flush & cover)).all()


@given(GEOMETRY, st.integers(0, 12), st.integers(0, 12))
def test_patches_are_counted_without_making_them(geometry, less_high, less_wide):
    size, stride, below, right, cover = geometry
    height, width = max(1, size + below - less_high), max(1, size + right - less_wide)
    grid = size, stride, cover
    assert count_patches(height, width, *grid) == len(patch_origins(height, width, *grid))


@given(GEOMETRY)
def test_a_covered_border_leaves_no_pixel_out(geometry):
    size, stride, below, right, _ = geometry
    stride = min(stride, size)
    seen = np.zeros((size + below, size + right), int)
    for y, x in patch_origins(*seen.shape, size, stride, True):
        seen[y : y + size, x : x + size] += 1
    assert seen.min() >= 1


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4))
def test_patches_side_by_side_tile_the_image(size, rows, columns):
    image = np.arange(rows * columns * size * size).reshape(rows * size, columns * size)
    patches = cut(image, patch_origins(*image.shape, size, size), size, [3])
    tiled = patches.reshape(rows, columns, size, size).swapaxes(1, 2).reshape(image.shape)
    np.testing.assert_array_equal(tiled, image)


@pytest.mark.parametrize("shape", [(9, 20), (20, 9)])
def test_an_image_smaller_than_a_patch_has_none(shape):
    assert patch_origins(*shape, 10, 5, True).shape == (0, 2)


def cut(image, origins, size, heights, dtype=np.float32):
    """Feed the image in blocks of those heights, over and over; return (n, size, size)."""
    written = []
    cutter = PatchCutter(
        image.shape[1], size, origins, dtype, lambda patches: written.append(patches.copy())
    )
    first, turn = 0, 0
    while first < len(image):
        block = image[first : first + heights[turn % len(heights)]].copy()
        cutter.add(block)
        block[:] = -1  # the cutter must not keep the caller's buffer
        first, turn = first + len(block), turn + 1
    return np.concatenate(written)


@settings(max_examples=200, deadline=None)
@given(GEOMETRY, st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_patches_are_pieces_of_the_image_however_rows_arrive(geometry, heights):
    size, stride, below, right, cover = geometry
    shape = size + below, size + right
    image = np.random.default_rng(below * 31 + right).random(shape, np.float32)
    origins = patch_origins(*shape, size, stride, cover)
    expected = np.stack([image[y : y + size, x : x + size] for y, x in origins])
    np.testing.assert_array_equal(cut(image, origins, size, heights), expected)


def test_many_small_patches_are_written_together():
    image = np.zeros((16, 1024), np.float32)
    writes = []
    origins = patch_origins(*image.shape, 16, 4)
    cutter = PatchCutter(1024, 16, origins, np.float32, lambda p: writes.append(len(p)))
    cutter.add(image)
    assert writes == [253]
