"""A training whose values leave the CUDA engine's range: PyTorch goes on, and says so."""

import numpy as np
import pytest
import torch

from clearice.dataset.reader import open_split
from clearice.errors import InputError
from clearice.model import late_losses, optimization
from clearice.model.engines.autograd import Autograd
from emulated_engine import EmulatedEngine
from training_data import assert_same_weights, train, weights_of, write_dataset

pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = {"epochs": 3, "learning_rate": 1e-4, "swap_halves": False}


@pytest.fixture(params=[0, 2])
def emulated(monkeypatch, request):
    """The engine `cuda` is emulated, its pixels end at 100; losses come 0 or 2 steps late."""

    def build(name, network, device, precision, *_):
        if name == "cuda":
            return EmulatedEngine(network, limit=100)
        return Autograd(network, device, precision)

    class LateLosses(late_losses.LateLosses):
        def __init__(self, device):
            super().__init__(device)
            self._lag = request.param

    monkeypatch.setattr(optimization, "build_engine", build)
    monkeypatch.setattr("clearice.model.session.LateLosses", LateLosses)


def set_pixel(manifest, split, i, value):
    """Put `value` into the input of patch `i` (16 x 16)."""
    with open_split(manifest, split) as reader:
        name, _, _ = reader.where(i)
        segment = next(s for s in reader.segments if s["micrograph"] == name)
    values = np.memmap(manifest.parent / segment["input_file"], np.float32, "r+")
    first = segment["input_offset_bytes"] // values.itemsize
    values[first + (i - segment["first_patch"]) * 256 + 3] = value
    values.flush()


@pytest.fixture
def manifest(tmp_path):
    return write_dataset(tmp_path / "dataset", train=(14, 9), test=(3,))


@pytest.mark.parametrize("patch", range(0, 23, 5))
def test_steps_beyond_the_range_are_taken_again_by_pytorch(
    emulated, manifest, tmp_path, capsys, patch
):
    set_pixel(manifest, "train", patch, 150.0)
    ours = train(manifest, tmp_path / "ours", engine="cuda", **SETTINGS)
    said = capsys.readouterr().err
    assert said.count("was beyond the range of the cuda engine: PyTorch goes on from there") == 1
    assert "in epoch 1, batch" in said
    assert ours.engine == "pytorch"
    exact = train(manifest, tmp_path / "exact", engine="pytorch", **SETTINGS)
    for row, expected in zip(ours.rows, exact.rows, strict=True):
        assert row["step"] == expected["step"]
        for name in ("train_loss", "test_loss", "batch_loss"):
            assert row[name] == pytest.approx(expected[name], rel=1e-4), name
    for name, weight in weights_of(exact).items():
        np.testing.assert_allclose(weights_of(ours)[name], weight, rtol=1e-3, atol=1e-6)


def test_an_evaluation_beyond_the_range_is_done_again(emulated, manifest, tmp_path, capsys):
    set_pixel(manifest, "test", 1, 150.0)
    ours = train(manifest, tmp_path / "ours", engine="cuda", **SETTINGS)
    assert "after epoch 1 a value was beyond the range" in capsys.readouterr().err
    assert ours.engine == "pytorch"
    exact = train(manifest, tmp_path / "exact", engine="pytorch", **SETTINGS)
    assert ours.rows[-1]["test_loss"] == pytest.approx(exact.rows[-1]["test_loss"], rel=1e-4)


def test_a_pixel_that_is_no_number_is_named_all_the_same(emulated, manifest, tmp_path):
    set_pixel(manifest, "train", 4, float("nan"))
    with pytest.raises(InputError, match="the loss is nan in epoch 1") as caught:
        train(manifest, tmp_path / "ours", engine="cuda", **SETTINGS)
    assert "1 pixels not finite" in str(caught.value)


def test_within_the_range_the_engine_stays(emulated, manifest, tmp_path, capsys):
    ours = train(manifest, tmp_path / "ours", engine="cuda", **SETTINGS)
    assert ours.engine == "cuda"
    assert "range" not in capsys.readouterr().err
    train(manifest, tmp_path / "parts", engine="cuda", **{**SETTINGS, "epochs": 2})
    parts = train(manifest, tmp_path / "parts", engine="cuda", **SETTINGS)
    assert_same_weights(ours, parts)
    assert torch.isfinite(
        torch.cat([torch.from_numpy(w.ravel()) for w in weights_of(ours).values()])
    ).all()
