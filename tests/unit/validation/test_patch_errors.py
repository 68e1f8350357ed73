"""The loss of every patch, summed while the rows go by, is that of the patch itself."""

import tracemalloc

import numpy as np
import pytest

from clearice.shards.patches import patch_origins
from clearice.validation.patch_errors import patch_errors
from memory_images import MemoryRows

STD = 2.5


def images(shape, seed=0):
    generator = np.random.default_rng(seed)
    return {
        name: MemoryRows(generator.normal(7, 3, shape).astype(np.float32))
        for name in ("denoised", "target")
    }


@pytest.mark.parametrize(
    ("shape", "size", "stride", "cover"),
    [
        ((150, 200), 64, 32, False),
        ((150, 200), 64, 32, True),
        ((70, 65), 64, 64, False),
        ((200, 90), 16, 40, True),  # with gaps between patches
    ],
)
def test_each_patch_has_its_own_mean_squared_error(shape, size, stride, cover):
    pair = images(shape)
    grid = {"size_px": size, "stride_px": stride, "cover_border": cover}
    found = patch_errors(pair, STD, grid)
    error = (pair["denoised"].image.astype(float) - pair["target"].image) / STD
    expected = {
        (y, x): np.square(error[y : y + size, x : x + size]).mean()
        for y, x in patch_origins(*shape, size, stride, cover).tolist()
    }
    losses = {
        (y, x): loss
        for y, row in zip(found["y"], found["mse"], strict=True)
        for x, loss in zip(found["x"], row, strict=True)
    }
    assert losses.keys() == expected.keys()
    for place, loss in losses.items():
        assert loss == pytest.approx(expected[place], rel=2e-6)


def test_a_micrograph_smaller_than_a_patch_has_no_losses():
    grid = {"size_px": 64, "stride_px": 32, "cover_border": True}
    assert patch_errors(images((63, 200)), STD, grid) is None


def test_a_tall_image_takes_no_more_memory_than_a_flat_one():
    grid = {"size_px": 64, "stride_px": 32, "cover_border": False}
    peaks = []
    for height in (256, 2048):
        pair = images((height, 512))
        tracemalloc.start()
        patch_errors(pair, STD, grid)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000  # of 15 MiB more that were looked at
