"""Tiles equal the whole image, and the scale stays."""

import tracemalloc

import numpy as np
import pytest
import torch

from clearice.denoised import tiles
from clearice.denoised.bands import overlapping_bands, plain_spans, window_origins
from clearice.denoised.tiles import chosen_tile_px, denoise_bands
from clearice.errors import InputError
from clearice.micrographs.rows import MicrographRows, hot_pixel_limit
from clearice.model.engines.cuda_compiler import CudaError
from clearice.model.networks import Network, SimpleCNN
from clearice.model.s2d_unet import S2DUNet
from memory_images import MemoryReader


def denoised(network, image, **settings):
    """Return the whole denoised image."""
    return np.concatenate(
        list(denoise_bands(network, MicrographRows(MemoryReader(image)), **settings))
    )


class Identity(Network):
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


class DoubleInside(Network):
    """A float64 network behind a float32 interface: tiles then differ by rounding alone."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.receptive_radius_px = network.receptive_radius_px
        self.alignment_px = network.alignment_px

    def forward(self, x):
        return self.network(x.double())


@pytest.mark.parametrize("shape", [(97, 130), (64, 64), (5, 200), (33, 2)])
@pytest.mark.parametrize("tile_px", [16, 33, 64, 500])
def test_tiles_equal_the_whole_image_pass(shape, tile_px):
    image = np.random.default_rng(0).normal(20, 5, shape).astype(np.float32)
    network = DoubleInside(random_network())
    tiled = denoised(network, image, tile_px=tile_px)
    survey = MicrographRows(MemoryReader(image)).survey.input
    location, scale = np.float32(survey.location), np.float32(survey.scale)
    with torch.inference_mode():
        whole = network(torch.from_numpy((image - location) / scale)[None, None])[0, 0].numpy()
    whole = whole * scale + location
    assert tiled.shape == shape
    assert tiled.dtype == np.float32
    assert tiled == pytest.approx(whole, rel=1e-6, abs=1e-4)


class MeanOfBlocks(Network):
    """Each pixel becomes the mean of its 4 x 4 block, on a grid that begins at the origin."""

    receptive_radius_px, alignment_px = 3, 4

    def forward(self, x):
        height, width = x.shape[2:]
        padded = torch.nn.functional.pad(x, (0, -width % 4, 0, -height % 4))
        means = torch.nn.functional.avg_pool2d(padded.double(), 4)
        return means.repeat_interleave(4, 2).repeat_interleave(4, 3)[..., :height, :width]


@pytest.mark.parametrize("shape", [(97, 130), (64, 64), (5, 200)])
@pytest.mark.parametrize("tile_px", [16, 33, 50])
def test_tiles_begin_at_multiples_of_the_alignment(shape, tile_px):
    image = np.random.default_rng(0).normal(0, 1, shape)
    whole = denoised(MeanOfBlocks(), image, tile_px=200)
    np.testing.assert_allclose(denoised(MeanOfBlocks(), image, tile_px=tile_px), whole, atol=1e-6)


@pytest.mark.parametrize("build", [SimpleCNN, S2DUNet, MeanOfBlocks])
def test_a_plane_at_once_is_the_bands_to_the_bit(build, monkeypatch):
    """What a GPU does where it has the room: the tiles are the same."""
    torch.manual_seed(0)
    network = build().eval()
    image = np.random.default_rng(0).normal(40, 6, (700, 330)).astype(np.float32)
    image[:9] = image[300:420, 64:192] = 7.0  # blank
    rows = MicrographRows(MemoryReader(image))
    tile_px = 160 if build is S2DUNet else 100
    bands = list(denoise_bands(network, rows, tile_px=tile_px))
    monkeypatch.setattr("clearice.denoised.tiles.holds_planes", lambda *_: True)
    (plane,) = denoise_bands(network, rows, tile_px=tile_px)
    assert len(bands) > 3
    assert np.array_equal(plane, np.concatenate(bands))
    assert (plane[300:420, 64:192] == 7).all()


class OnCPU:
    """The CUDA engine's plane kernel in PyTorch; what is seen ends at `limit`."""

    limit = 65504

    def __init__(self, network, precision, images):
        assert (precision, images) == ("float32", None)
        self._network = network

    def prepare_planes(self):
        """Compile nothing."""

    def denoise_plane(self, image, output):
        seen = torch.where(image.abs() <= self.limit, image, torch.nan)
        output.copy_(self._network(seen[None, None])[0, 0])


@pytest.fixture
def on_cpu(monkeypatch):
    """A simple_cnn on a CPU has the kernel, emulated."""

    def tiles_for(network, height_px, width_px, tile_px, device):
        return tiles.KernelTiles(network, height_px, width_px, tile_px)

    monkeypatch.setattr(tiles, "CudaCNN", OnCPU)
    monkeypatch.setattr(tiles, "tiles_for", tiles_for)


@pytest.mark.parametrize("tile_px", [30, 500])
def test_the_kernel_stands_in_the_place_of_tiles(on_cpu, monkeypatch, capsys, tile_px):
    torch.manual_seed(0)
    network = SimpleCNN().eval()
    before = [parameter.data_ptr() for parameter in network.parameters()]
    image = np.random.default_rng(0).normal(4, 6, (97, 130)).astype(np.float32)
    image[30:60, 40:90] = 7.0  # blank
    found = denoised(network, image, tile_px=tile_px)
    assert [parameter.data_ptr() for parameter in network.parameters()] == before
    monkeypatch.undo()
    expected = denoised(network, image, tile_px=tile_px)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert capsys.readouterr().err == ""


def test_rows_beyond_the_range_of_the_kernel_are_pytorchs(on_cpu, monkeypatch, capsys):
    network = SimpleCNN().eval()
    image = np.random.default_rng(0).normal(size=(80, 40)).astype(np.float32)
    image[70, 20] = 9
    monkeypatch.setattr(OnCPU, "limit", 6)
    found = denoised(network, image, tile_px=40)
    (line,) = capsys.readouterr().err.splitlines()
    assert "rows 40 to 79: beyond the range of the cuda engine; PyTorch denoises them" in line
    monkeypatch.undo()
    np.testing.assert_allclose(found, denoised(network, image, tile_px=40), rtol=0, atol=1e-5)


def test_a_simple_cnn_on_a_gpu_without_its_kernel_says_so_once(monkeypatch, capsys):
    tiles._say_once.cache_clear()
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(tiles, "obstacle_to_cuda", lambda *_: "cuda-bindings is missing")
    for network in (SimpleCNN(), SimpleCNN(), S2DUNet()):
        assert tiles.tiles_for(network, 70, 80, 64, gpu).engine == "pytorch"
    said = "denoising without the faster engine cuda: cuda-bindings is missing\n"
    assert capsys.readouterr().err == said

    def refuse(*_, **__):
        raise CudaError("the driver is too old\nand more")

    monkeypatch.setattr(tiles, "obstacle_to_cuda", lambda *_: None)
    monkeypatch.setattr(tiles, "CudaCNN", refuse)
    assert tiles.tiles_for(SimpleCNN(), 70, 80, 64, gpu).engine == "pytorch"
    assert capsys.readouterr().err.endswith("the driver is too old\n")
    assert tiles.tiles_for(SimpleCNN(), 70, 80, 64, torch.device("cpu")).engine == "pytorch"


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
    buffer = np.empty((max(b - a for a, b in spans), 3), np.float32)
    bands = [band.tolist() for band in overlapping_bands(blocks, buffer, spans)]
    assert bands == [image[a:b].tolist() for a, b in spans]


@pytest.mark.parametrize(
    ("length", "window", "origins"),
    [(512, 512, [0]), (1024, 512, [0, 512]), (1240, 512, [0, 364, 728])],
)
def test_windows_cover_everything(length, window, origins):
    assert window_origins(length, window) == origins


def test_a_tile_is_chosen_unless_given():
    network, wide = SimpleCNN(), S2DUNet()
    assert chosen_tile_px(96, "cpu", network) == 96
    assert chosen_tile_px(None, "cpu", network) < chosen_tile_px(None, "cuda:1", network)
    assert chosen_tile_px(None, "cpu", wide) > 1.9 * wide.receptive_radius_px


def test_memory_grows_by_the_pieces_of_the_affine_alone():
    """9 bytes per 64 px, most again while their median is taken, and profiles of the rows."""

    def peak_bytes(height):
        source = MicrographRows(MemoryReader(np.random.default_rng(0).normal(size=(height, 2048))))
        tracemalloc.start()
        for _ in denoise_bands(Identity(), source, tile_px=64):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_bytes(2048) - peak_bytes(512) < 0.45 * (2048 - 512) * 2048
