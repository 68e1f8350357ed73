"""Tiles equal the whole image; the scale stays; metrics say what a noisy pair allows."""

import json
import tracemalloc

import mrcfile
import numpy as np
import pytest
import torch

from clearice.denoised.bands import overlapping_bands, plain_spans, window_origins
from clearice.denoised.metrics import PairMoments, compare_micrographs
from clearice.denoised.tiles import chosen_tile_px, denoise_bands
from clearice.errors import InputError
from clearice.micrographs.mrc import write_micrograph
from clearice.micrographs.rows import MicrographRows, hot_pixel_limit
from clearice.model.networks import SimpleCNN
from clearice.model.weights import load_model, save_model
from denoise_micrograph import denoise_micrograph, main


class MemoryReader:
    """An image in memory with the interface of an open micrograph."""

    path = "memory.mrc"

    def __init__(self, image):
        self.image = np.asarray(image, dtype=np.float32)
        self.height_px, self.width_px = self.image.shape

    def blocks(self, rows=7):
        """Yield (first row, rows) in order, in a buffer that is used again."""
        buffer = np.empty((rows, self.width_px), np.float32)
        for first in range(0, self.height_px, rows):
            count = min(rows, self.height_px - first)
            buffer[:count] = self.image[first : first + count]
            yield first, buffer[:count]
            buffer[:] = np.nan

    def read_rows(self, first, count):
        """Return rows first to first + count."""
        return self.image[first : first + count].copy()


def denoised(network, image, **settings):
    """Return the whole denoised image."""
    return np.concatenate(
        list(denoise_bands(network, MicrographRows(MemoryReader(image)), **settings))
    )


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
    tiled = denoised(network, image, tile_px=tile_px)
    mean, std = image.mean(dtype=np.float64), image.std(dtype=np.float64)
    with torch.inference_mode():
        whole = network(torch.from_numpy((image - mean) / std)[None, None])[0, 0].numpy()
    whole = whole * std + mean
    assert tiled.shape == shape
    assert tiled.dtype == np.float32
    assert tiled == pytest.approx(whole, rel=1e-6, abs=1e-4)


def test_a_halo_too_narrow_would_be_seen():
    """The test above can fail: one pixel less of halo shows at the tile borders."""
    image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    network = DoubleInside(random_network())
    whole = denoised(network, image, tile_px=64)
    network.receptive_radius_px -= 1
    seams = denoised(network, image, tile_px=32)
    y, x = np.nonzero(np.abs(seams - whole) > 1e-3)
    assert y.size > 0
    assert np.all(np.isin(y, (31, 32)) | np.isin(x, (31, 32)))


def test_the_identity_keeps_the_intensity_scale():
    image = np.random.default_rng(0).normal(1000, 30, (40, 50)).astype(np.float32)
    assert denoised(Identity(), image, tile_px=16) == pytest.approx(image, rel=1e-6)


def test_a_diverged_model_is_an_error_not_a_micrograph():
    class Diverged(Identity):
        def forward(self, x):
            return x * float("nan")

    with pytest.raises(InputError, match="NaN or infinity"):
        denoised(Diverged(), np.eye(8), tile_px=8)


def test_hot_pixels_are_replaced_before_anything_is_measured():
    image = np.random.default_rng(0).normal(10, 1, (60, 50)).astype(np.float32)
    clean = image.std()
    image[20, 30] = 5000
    reader = MemoryReader(image)
    source = MicrographRows(reader, hot_pixel_limit(reader, 20))
    assert source.survey.input.std == pytest.approx(clean, rel=0.02)
    assert source.hot_pixels == 1
    result = np.concatenate(list(denoise_bands(Identity(), source, tile_px=32)))
    assert abs(result[20, 30] - 10) < 4
    image[20, 30] = result[20, 30]
    assert result == pytest.approx(image, rel=1e-5)


@pytest.mark.parametrize(
    "spans",
    [[(0, 5), (3, 9), (8, 20)], [(0, 5), (5, 10), (10, 20)], plain_spans(20, 6, 4), [(0, 20)]],
)
def test_overlapping_bands_need_each_row_once(spans):
    image = np.arange(60, dtype=np.float32).reshape(20, 3)
    blocks = (rows for _, rows in MemoryReader(image).blocks())
    bands = list(overlapping_bands(blocks, 3, spans))
    assert [band.tolist() for band in bands] == [image[a:b].tolist() for a, b in spans]


@pytest.mark.parametrize(
    ("length", "window", "origins"),
    [(512, 512, [0]), (1024, 512, [0, 512]), (1240, 512, [0, 364, 728])],
)
def test_windows_cover_everything(length, window, origins):
    assert window_origins(length, window) == origins


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
    assert metrics["window_px"] == 128
    assert metrics["windows"] == 9
    assert pairs["raw_truth"]["mse"] == pytest.approx(1.0, rel=0.02)
    assert pairs["raw_truth"]["psnr_db"] == pytest.approx(
        10 * np.log10(np.ptp(truth) ** 2), abs=0.1
    )
    assert pairs["denoised_truth"]["mse"] == 0
    assert pairs["denoised_truth"]["psnr_db"] is None
    assert pairs["raw_target"]["mse"] == pytest.approx(2.0, rel=0.02)
    assert pairs["denoised_target"]["mse"] == pytest.approx(1.0, rel=0.02)
    assert pairs["denoised_target"]["correlation"] > pairs["raw_target"]["correlation"] + 0.1
    assert metrics["statistics"]["raw"]["std"] == pytest.approx(raw.std(), rel=1e-6)
    assert len(metrics["frequency_per_px"]) == len(pairs["raw_target"]["frc"]) == 65


def test_a_constant_output_earns_nothing():
    """f(even) against f(odd) would call this network perfect."""
    _truth, raw, target = noisy_pair()
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


def test_memory_does_not_grow_with_the_height():
    def peak_bytes(height):
        source = MicrographRows(MemoryReader(np.random.default_rng(0).normal(size=(height, 512))))
        tracemalloc.start()
        for _ in denoise_bands(Identity(), source, tile_px=64):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_bytes(4096) < 1.1 * peak_bytes(512)


@pytest.fixture
def model_file(tmp_path):
    """A model with random weights."""
    torch.manual_seed(0)
    path = tmp_path / "denoiser.safetensors"
    save_model(path, SimpleCNN(), {"architecture": "simple_cnn"})
    return path


def write_half(path, image, pixel_size_angstrom=1.25, origin=(3.0, 4.0, 0.0)):
    """Write an image as an MRC file."""
    write_micrograph(
        path,
        [image],
        *image.shape,
        pixel_size_angstrom=pixel_size_angstrom,
        origin=origin,
        label="test",
    )
    return path


@pytest.mark.parametrize(("dtype", "mode"), [("float32", 2), ("float16", 12)])
def test_a_denoised_file_keeps_shape_voxel_size_origin_and_scale(tmp_path, model_file, dtype, mode):
    truth, raw, target = noisy_pair()
    files = {
        name: write_half(tmp_path / f"{name}.mrc", image.astype(np.float32))
        for name, image in (("raw", raw), ("target", target), ("truth", truth))
    }
    denoised, metrics = tmp_path / "out" / "a.b.mrc", tmp_path / "out" / "a.b.json"
    settings = {"dtype": dtype, "tile_px": 100, "device": "cpu", "hot_pixel_threshold": None}
    denoise_micrograph(
        files["raw"], model_file, denoised, metrics, settings, files["target"], files["truth"]
    )
    assert mode == 12 or mrcfile.validate(denoised)  # which sums float16 in float16: infinity
    with mrcfile.open(denoised) as file:
        assert file.header.mode == mode
        assert file.data.shape == raw.shape
        assert file.voxel_size.x == pytest.approx(1.25)
        assert file.header.origin.tolist() == (3.0, 4.0, 0.0)
        assert b"denoised" in file.header.label[0]
        stored = file.data.astype(np.float64)
    network, _ = load_model(model_file)
    raw = raw.astype(np.float32)
    with torch.inference_mode():
        whole = network(torch.from_numpy((raw - raw.mean()) / raw.std())[None, None])[0, 0]
    expected = whole.numpy() * raw.std() + raw.mean()
    assert stored == pytest.approx(expected, abs=1e-4 if dtype == "float32" else 0.05)
    record = json.loads(metrics.read_text())
    assert record["micrograph"] == "a.b"
    assert record["mean"] == pytest.approx(raw.mean(dtype=np.float64))
    assert record["pairs"]["raw_truth"]["mse"] == pytest.approx(1.0, rel=0.02)
    assert record["statistics"]["denoised"]["mean"] == pytest.approx(stored.mean(), abs=1e-3)


def test_a_target_of_another_size_is_an_error_that_names_it(tmp_path, model_file):
    image = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
    raw = write_half(tmp_path / "raw.mrc", image)
    target = write_half(tmp_path / "target.mrc", image[:, :30])
    settings = {"dtype": "float32", "tile_px": None, "device": "cpu", "hot_pixel_threshold": None}
    with pytest.raises(InputError, match=r"target\.mrc: .* expected 32 x 32 px, found 32 x 30 px"):
        denoise_micrograph(
            raw, model_file, tmp_path / "o.mrc", tmp_path / "o.json", settings, target
        )


@pytest.mark.parametrize(("value", "words"), [(5.0, "constant"), (np.inf, "NaN or infinite")])
def test_a_micrograph_that_cannot_be_normalised_leaves_no_output(
    tmp_path, model_file, value, words
):
    raw = tmp_path / "raw.mrc"
    with mrcfile.new(raw) as file:
        file.set_data(np.full((32, 32), value, np.float32))
    with pytest.raises(InputError, match=words):
        main([str(raw), "--model", str(model_file), "--output", str(tmp_path / "o.mrc")])
    assert not (tmp_path / "o.mrc").exists()
