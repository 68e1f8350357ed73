"""Many micrographs on a GPU: what jobs of their own make, in the memory of one."""

import numpy as np
import pytest
import torch

from clearice.denoised import tiles
from clearice.denoised.batch import Batch
from clearice.denoised.micrograph import load_denoiser
from clearice.denoised.progress import FileProgress
from clearice.denoised.tasks import find_tasks
from clearice.micrographs.mrc import read_micrograph
from clearice.micrographs.rows import MicrographRows
from clearice.model.device import set_precision
from clearice.model.networks import SimpleCNN
from denoise_files import write_image
from denoise_micrograph import denoise_micrograph
from memory_images import MemoryReader

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
MODEL, GPU = "general", torch.device("cuda", 0)
SETTINGS = {
    "dtype": "float16",
    "tile_px": None,
    "hot_pixel_threshold": "auto",
    "average_halves": False,
}


@pytest.fixture(autouse=True)
def arithmetic():
    """Leave the process's arithmetic as the other tests expect it."""
    yield
    set_precision("float32")


def many(paths, folder, **changes):
    """Denoise files on the GPU into a folder; return the peak of its memory (MiB)."""
    folder.mkdir()
    network, identity, device = load_denoiser(MODEL, "cuda")
    tasks = find_tasks(map(str, paths), folder).tasks
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    batch = Batch(network, identity, SETTINGS | changes, device)
    assert all(f is None for _, f in batch.run(tasks, FileProgress(len(tasks), 1)))
    return torch.cuda.max_memory_allocated() / 2**20


def test_many_at_once_are_those_one_by_one_in_the_memory_of_one(tmp_path):
    paths = [write_image(tmp_path / f"{n}.mrc", n, (1800, 2000 + n)) for n in range(8)]
    peak_mib = many(paths, tmp_path / "many")
    one_mib = many(paths[-1:], tmp_path / "one")
    assert peak_mib < 1.2 * one_mib + 16
    for path in paths:
        alone = tmp_path / "alone" / path.name
        settings = SETTINGS | {"device": "cuda"}
        denoise_micrograph(str(path), MODEL, alone, alone.with_suffix(".json"), settings)
        assert (tmp_path / "many" / path.name).read_bytes() == alone.read_bytes()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_plane_is_its_bands_and_what_a_cpu_makes(tmp_path, monkeypatch, dtype):
    path = write_image(tmp_path / "a.mrc", 1, (1500, 700), signal=3.0)
    for name, device in (("plane", "cuda"), ("bands", "cuda"), ("cpu", "cpu")):
        if name == "bands":
            monkeypatch.setattr("clearice.denoised.tiles.holds_planes", lambda *_: False)
        output = tmp_path / f"{name}.mrc"
        settings = SETTINGS | {"device": device, "dtype": dtype, "tile_px": 640}
        denoise_micrograph(str(path), MODEL, output, output.with_suffix(".json"), settings)
    plane, bands, cpu = (read_micrograph(tmp_path / f"{n}.mrc") for n in ("plane", "bands", "cpu"))
    assert np.array_equal(plane, bands)
    step = 2.0**-7 if dtype == "float16" else 0  # at the image's level, 10
    np.testing.assert_allclose(plane, cpu, atol=1e-4 + step)


def simple_cnn(scale=1.0):
    torch.manual_seed(0)
    network = SimpleCNN().to(GPU).eval()
    with torch.no_grad():
        network.conv1.weight *= scale
    return network


@pytest.mark.parametrize("shape", [(700, 1234), (2100, 1900), (5, 3)])
@pytest.mark.parametrize("band_by_band", [False, True])
def test_a_simple_cnn_by_the_cuda_engine_is_pytorchs(monkeypatch, capsys, shape, band_by_band):
    """By the standard deviation of what the network sees, 1."""
    set_precision("float32", deterministic=True)
    image = np.random.default_rng(0).normal(3, 7, shape).astype(np.float32)
    rows, network = MicrographRows(MemoryReader(image)), simple_cnn()
    if band_by_band:
        monkeypatch.setattr(tiles, "holds_planes", lambda *_: False)
    settings = {"tile_px": 640, "device": GPU}
    assert tiles.tiles_for(network, *shape, 640, GPU).engine == "cuda"
    ours = np.concatenate(list(tiles.denoise_bands(network, rows, **settings)))
    said = capsys.readouterr().err
    monkeypatch.setattr(tiles, "tiles_for", lambda *arguments: tiles.Tiles(*arguments[:-1]))
    theirs = np.concatenate(list(tiles.denoise_bands(network, rows, **settings)))
    difference = np.abs(ours - theirs).max() / rows.survey.input.scale
    print(f"{shape}: at most {difference:.2e}")
    assert difference < 5e-6
    assert said == ""


def test_rows_beyond_the_range_are_denoised_by_pytorch(monkeypatch, capsys):
    set_precision("float32", deterministic=True)
    image = np.random.default_rng(0).normal(3, 7, (300, 400)).astype(np.float32)
    rows, network = MicrographRows(MemoryReader(image)), simple_cnn(scale=1e6)
    ours = np.concatenate(list(tiles.denoise_bands(network, rows, tile_px=640, device=GPU)))
    assert "beyond the range of the cuda engine; PyTorch denoises them" in capsys.readouterr().err
    monkeypatch.setattr(tiles, "tiles_for", lambda *arguments: tiles.Tiles(*arguments[:-1]))
    theirs = np.concatenate(list(tiles.denoise_bands(network, rows, tile_px=640, device=GPU)))
    assert np.array_equal(ours, theirs)
