"""A network of pixel halves on micrographs of full resolution."""

import numpy as np
import pytest
import torch

from clearice.micrographs.halves.pixel_halves import PixelHalf
from clearice.model.half_resolution import OnPixelHalves, at_full_resolution
from clearice.model.networks import Network
from memory_images import MemoryReader


class Remembering(Network):
    """Gives back what it gets, and keeps it."""

    receptive_radius_px = 0

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x[0, 0].numpy().copy())
        return x


def test_it_sees_the_pixel_halves_with_the_noise_of_a_pixel():
    image = np.random.default_rng(0).normal(size=(64, 48)).astype(np.float32)
    inner = Remembering()
    OnPixelHalves(inner)(torch.from_numpy(image)[None, None])
    for diagonal, seen in enumerate(inner.seen):
        half = np.concatenate(
            [rows.copy() for _, rows in PixelHalf(MemoryReader(image), diagonal).blocks()]
        )
        np.testing.assert_allclose(seen, half * np.sqrt(2), rtol=1e-5, atol=1e-6)
        assert seen.std() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("shape", [(40, 60), (41, 61), (2, 2)])
def test_a_smooth_image_comes_back_at_full_size(shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = torch.from_numpy(0.3 * y - 0.2 * x + 5)[None, None]
    result = OnPixelHalves(Remembering())(image)
    assert result.shape == image.shape
    inside = (..., slice(4, -4), slice(4, -4))
    torch.testing.assert_close(result[inside], image[inside], rtol=0, atol=1e-6)


def test_the_model_file_says_which_it_is():
    network = Remembering()
    assert at_full_resolution(network, {"resolution": "full"}) is network
    assert at_full_resolution(network, {}) is network
    assert isinstance(at_full_resolution(network, {"resolution": "half"}), OnPixelHalves)
