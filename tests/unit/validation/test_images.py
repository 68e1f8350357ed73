"""Images read together in windows and tiles are the images, and leave nothing on disk."""

import numpy as np
import pytest

from clearice.validation.images import (
    RowFile,
    central_window,
    tiles_of,
    window_size_px,
    windows_of,
)
from memory_images import MemoryRows


def noise(shape, seed=0):
    """Return white noise as float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_a_file_of_rows_has_no_name_and_can_be_read_again(tmp_path):
    image = noise((150, 31))
    file = RowFile((image[i : i + 40] for i in range(0, 150, 40)), 150, 31, tmp_path)
    assert list(tmp_path.iterdir()) == []
    for _ in range(2):
        assert np.array_equal(np.concatenate(list(file.blocks())), image)
    file.close()


@pytest.mark.parametrize("shape", [(64, 64), (100, 131), (97, 64)])
def test_windows_cover_the_image_but_for_seven_pixels_at_its_end(shape):
    image = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    seen = np.zeros(shape, bool)
    size = window_size_px(*shape, 48)
    assert size % 8 == 0
    for windows in windows_of({"a": MemoryRows(image), "b": MemoryRows(image + 1)}, size):
        window = windows["a"]
        y, x = divmod(int(window[0, 0]), shape[1])
        assert y % 8 == x % 8 == 0
        assert np.array_equal(window, image[y : y + size, x : x + size])
        assert np.array_equal(windows["b"], window + 1)
        seen[y : y + size, x : x + size] = True
    assert seen[:-7, :-7].all()


def test_tiles_are_the_image_once_and_their_halos_its_surroundings():
    image, halo = noise((70, 95)), 9
    mirrored = np.pad(image, halo, mode="symmetric")
    seen = np.zeros(image.shape, int)
    for top, left, height, width, tile in tiles_of({"a": MemoryRows(image)}, 32, halo):
        seen[top : top + height, left : left + width] += 1
        expected = mirrored[top : top + height + 2 * halo, left : left + width + 2 * halo]
        assert np.array_equal(tile["a"], expected)
    assert (seen == 1).all()


@pytest.mark.parametrize("size", [20, 64, 500])
def test_the_central_window_is_the_centre(size):
    image = noise((70, 95))
    high, wide = min(size, 70), min(size, 95)
    top, left = (70 - high) // 2, (95 - wide) // 2
    expected = image[top : top + high, left : left + wide]
    assert np.array_equal(central_window(MemoryRows(image), size), expected)
