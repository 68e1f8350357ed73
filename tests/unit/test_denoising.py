"""Tiles equal the whole image; the scale stays; metrics say what a noisy pair allows."""

import numpy as np
import pytest
import torch
from clearice.denoising import Affine, chosen_tile_px, denoise_bands, within_float16
from clearice.errors import InputError
from clearice.metrics import PairMoments, compare_micrographs
from clearice.networks import SimpleCNN


class MemoryReader:
    """An image in memory with the interface of an open micrograph."""

    path = "memory.mrc"

    def __init__(self, image):
        self.image = np.asarray(image, dtype=np.float32)
        self.height_px, self.width_px = self.image.shape
        self.most_rows = 0

    def read_rows(self, first, count):
        """Return rows first..first + count, which must exist."""
        assert first >= 0 and first + count <= self.height_px
        self.most_rows = max(self.most_rows, count)
        return self.image[first : first + count].copy()


class Identity(torch.nn.Module):
    """A network that changes nothing."""

    receptive_radius_px = 0

    def forward(self, x):
        return x


def random_network(seed=0):
    torch.manual_seed(seed)
    network = SimpleCNN().double().eval()
    for parameter in network.parameters():
        parameter.data.normal_(0, 0.5)  # biases too: a padded zero must matter
    return network


class DoubleInside(torch.nn.Module):
    """A float64 network behind a float32 interface: tiles then differ by rounding alone."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.receptive_radius_px = network.receptive_radius_px

    def forward(self, x):
        return self.network(x.double())


@pytest.mark.parametrize("shape", [(97, 130), (64, 64), (5, 200), (33, 2)])
@pytest.mark.parametrize("tile_px", [16, 33, 64, 500])
def test_tiles_equal_the_whole_image_pass(shape, tile_px):
    image = np.random.default_rng(0).normal(20, 5, shape).astype(np.float32)
    network = DoubleInside(random_network())
    affine = Affine(20.0, 5.0)
    reader = MemoryReader(image)
    tiled = np.concatenate(list(denoise_bands(network, reader, affine, tile_px=tile_px)))
    with torch.inference_mode():
        whole = network(torch.from_numpy((image - 20) / 5)[None, None])[0, 0].numpy() * 5 + 20
    assert tiled.shape == shape and tiled.dtype == np.float32
    assert tiled == pytest.approx(whole, rel=1e-6, abs=1e-4)
    assert reader.most_rows <= tile_px + 2 * network.receptive_radius_px


def test_a_halo_too_narrow_would_be_seen():
    """The test above can fail: one pixel less of halo shows at the tile borders."""
    image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    network = DoubleInside(random_network())
    reader, affine = MemoryReader(image), Affine(0.0, 1.0)
    whole = np.concatenate(list(denoise_bands(network, reader, affine, tile_px=64)))
    network.receptive_radius_px -= 1
    seams = np.concatenate(list(denoise_bands(network, reader, affine, tile_px=32)))
    y, x = np.nonzero(np.abs(seams - whole) > 1e-3)
    assert y.size > 0
    assert np.all(np.isin(y, (31, 32)) | np.isin(x, (31, 32)))


def test_the_identity_keeps_the_intensity_scale():
    image = np.random.default_rng(0).normal(1000, 30, (40, 50)).astype(np.float32)
    bands = denoise_bands(Identity(), MemoryReader(image), Affine(1000.0, 30.0), tile_px=16)
    assert np.concatenate(list(bands)) == pytest.approx(image, rel=1e-6)


def test_a_diverged_model_is_an_error_not_a_micrograph():
    class Diverged(Identity):
        def forward(self, x):
            return x * float("nan")

    bands = denoise_bands(Diverged(), MemoryReader(np.ones((8, 8))), Affine(0.0, 1.0), tile_px=8)
    with pytest.raises(InputError, match="NaN or infinity"):
        list(bands)


def test_float16_refuses_what_it_cannot_hold():
    assert len(list(within_float16([np.full((2, 2), 65504.0)], "a.mrc"))) == 1
    for value in (65600.0, -70000.0, np.nan):
        with pytest.raises(InputError, match=r"a\.mrc: too bright for float16"):
            list(within_float16([np.full((2, 2), value)], "a.mrc"))


def test_a_tile_is_chosen_unless_given():
    assert chosen_tile_px(96, "cpu") == 96
    assert chosen_tile_px(None, "cpu") < chosen_tile_px(None, "cuda:1")


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


def noisy_pair(shape=(300, 260)):
    """A smooth truth and two halves with unit noise."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    truth = 50 + 2 * np.sin(x / 9) * np.cos(y / 13)
    generator = np.random.default_rng(0)
    return truth, truth + generator.normal(size=shape), truth + generator.normal(size=shape)


def test_metrics_of_a_perfect_denoiser():
    truth, raw, target = noisy_pair()
    images = {"raw": raw, "denoised": truth, "target": target, "truth": truth}
    metrics = compare_micrographs({n: MemoryReader(i) for n, i in images.items()}, window_px=128)
    pairs = metrics["pairs"]
    assert metrics["window_px"] == 128 and metrics["windows"] == 9
    assert pairs["raw_truth"]["mse"] == pytest.approx(1.0, rel=0.02)
    assert pairs["raw_truth"]["psnr_db"] == pytest.approx(
        10 * np.log10(np.ptp(truth) ** 2), abs=0.1
    )
    assert pairs["denoised_truth"]["mse"] == 0 and pairs["denoised_truth"]["psnr_db"] is None
    assert pairs["raw_target"]["mse"] == pytest.approx(2.0, rel=0.02)
    assert pairs["denoised_target"]["mse"] == pytest.approx(1.0, rel=0.02)
    assert pairs["denoised_target"]["correlation"] > pairs["raw_target"]["correlation"] + 0.1
    assert metrics["statistics"]["raw"]["std"] == pytest.approx(raw.std(), rel=1e-6)
    assert len(metrics["frequency_per_px"]) == len(pairs["raw_target"]["frc"]) == 65


def test_a_constant_output_earns_nothing():
    """f(even) against f(odd) would call this network perfect."""
    truth, raw, target = noisy_pair()
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
