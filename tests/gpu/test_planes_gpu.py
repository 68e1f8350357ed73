"""Planes on a GPU: the patches of the loader, whether they stay there or stream, however busy."""

import pytest
import torch

from clearice.dataset.reader import open_planes
from clearice.model.device import set_precision
from clearice.model.distributed import Processes
from clearice.model.feed import Feed
from clearice.model.planes import residency
from clearice.model.planes.patch_tables import ADDRESS, STRIDE
from clearice.model.planes.placement import kind_that_fits
from clearice.model.planes.residency import ResidentPlanes, StreamedPlanes
from training_data import assert_same_weights, model_settings, train, write_micrographs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
GPU, CPU = torch.device("cuda", 0), torch.device("cpu")


@pytest.fixture(autouse=True)
def arithmetic():
    """Leave the process's arithmetic as the other tests expect it."""
    yield
    set_precision("float32")


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    """Two micrographs a group, and pieces that end within a plane."""
    monkeypatch.setattr(residency, "GROUP", 2)
    monkeypatch.setattr("clearice.model.feed.GROUP", 2)
    monkeypatch.setattr("clearice.model.planes.copying._PIECE_BYTES", 4096)


def limits(manifest):
    planes = open_planes(manifest)
    return {ResidentPlanes: 1 << 30, StreamedPlanes: StreamedPlanes.bytes_of(planes), None: 0}


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("kind", [ResidentPlanes, StreamedPlanes, None])
def test_batches_are_those_of_the_cpu(tmp_path, kind, dtype, busy):
    """A late kernel must not see the micrographs of the next group."""
    words = {"train": 9, "dtype": dtype, "shape": (200, 240), "size_px": 64, "stride_px": 32}
    manifest = write_micrographs(tmp_path, "planes", **words)
    settings = model_settings(batch_size=5)
    ballast = torch.randn(2048, 2048, device=GPU)
    with (
        Feed(manifest, settings, GPU, Processes(), 16, limits(manifest)[kind]) as feed,
        Feed(manifest, settings, CPU, Processes(), 16) as reference,
    ):
        assert feed.streams == (kind is StreamedPlanes)
        assert (feed._on_device is None) == (kind is None)
        for epoch in range(2):
            copies = []
            for batch in feed.training_batches(epoch, grouped=feed.streams):
                if busy:
                    for _ in range(10):
                        ballast = ballast @ ballast / 46
                copies.append((batch.input.clone(), batch.target.clone()))
            torch.cuda.synchronize()
            expected = reference.training_batches(epoch, grouped=feed.streams)
            for pair, batch in zip(copies, expected, strict=True):
                assert torch.equal(pair[0].cpu(), batch.input)
                assert torch.equal(pair[1].cpu(), batch.target)


def test_a_table_lies_on_the_device_and_names_its_memory(tmp_path):
    manifest = write_micrographs(tmp_path, "planes")
    settings = model_settings()
    with Feed(manifest, settings, GPU, Processes(), 1, 1 << 30) as feed:
        memory = feed._on_device._bytes
        for batch in feed.training_batches(0):
            table = batch.tabled.table
            assert table.device == GPU
            assert table.is_contiguous()
            first = table[:, ADDRESS].min().item()
            last = table[:, ADDRESS].max().item() + 4 * (15 * table[0, STRIDE].item() + 16)
            assert memory.data_ptr() <= first < last <= memory.data_ptr() + len(memory)


@pytest.mark.parametrize("engine", ["pytorch", "cuda"])
@pytest.mark.parametrize("kind", [ResidentPlanes, StreamedPlanes])
def test_a_training_on_planes_is_that_on_patches(tmp_path, monkeypatch, kind, engine):
    set_precision("float32", deterministic=True)
    words = {"train": 9, "shape": (200, 240), "size_px": 64, "stride_px": 32}
    manifest = write_micrographs(tmp_path / "planes", "planes", **words)
    limit = limits(manifest)[kind]
    monkeypatch.setattr(
        "clearice.model.planes.placement.kind_that_fits",
        lambda *about: kind_that_fits(*about[:3], limit, about[4]),
    )
    settings = {"deterministic": True, "epochs": 2, "engine": engine}
    trained = train(manifest, tmp_path / "1", "cuda", **settings)
    assert_same_weights(trained, train(manifest, tmp_path / "2", "cuda", **settings))
    if kind is ResidentPlanes:  # streamed ones come in another order
        stored = write_micrographs(tmp_path / "patches", "patches", **words)
        assert_same_weights(trained, train(stored, tmp_path / "3", "cuda", **settings))


def test_what_is_free_decides(tmp_path):
    planes = open_planes(write_micrographs(tmp_path, "planes"))
    free, _ = torch.cuda.mem_get_info(GPU)
    assert kind_that_fits(planes, GPU, 1024) is ResidentPlanes
    assert kind_that_fits(planes, GPU, free >> 10) is None  # activations take all of it
