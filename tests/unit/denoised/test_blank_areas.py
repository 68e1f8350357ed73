"""Blank areas stay what they are, and move nothing around them."""

import numpy as np
import torch

from clearice.denoised.tiles import denoise_bands
from clearice.micrographs.rows import MicrographRows
from clearice.model.networks import Network
from memory_images import MemoryReader


class Flat(Network):
    """Draws its mean of nine pixels, and 3 on top of it."""

    receptive_radius_px = 1

    def forward(self, x):
        return torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False) + 3


def test_blank_pixels_keep_their_value_to_the_bit():
    image = np.random.default_rng(0).normal(40, 6, (300, 400)).astype(np.float32)
    image[:9], image[:, -11:] = 0, 0
    image[200:280, 64:192] = -3.25
    rows = MicrographRows(MemoryReader(image))
    denoised = np.concatenate(list(denoise_bands(Flat(), rows, tile_px=64)))
    blank = rows.survey.blank.mask(0, 300)
    assert blank.sum() == 9 * 400 + 291 * 11 + 80 * 128
    np.testing.assert_array_equal(denoised[blank], image[blank])
    assert (denoised[~blank] != image[~blank]).all()
