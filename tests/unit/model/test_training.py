"""The training: what it computes, what it records, and how it stops when it must."""

import contextlib
import csv
import json

import numpy as np
import pytest
import torch

from clearice.dataset.reader import open_split
from clearice.errors import InputError
from clearice.model.history import COLUMNS
from clearice.model.networks import build_network
from clearice.model.optimization import Optimization
from clearice.model.weights import load_model, save_model
from training_data import (
    NOISE_FLOOR,
    assert_same_weights,
    build_training,
    script,
    train,
    weights_of,
    write_dataset,
    write_manifest,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def manifest(tmp_path):
    return write_dataset(tmp_path / "dataset")


def read_history(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def spoil_a_pixel(manifest, split, i):
    """Put a NaN into the input of patch `i` (16 x 16); return where the patch lies."""
    with open_split(manifest, split) as reader:
        name, y, x = reader.where(i)
        segment = next(s for s in reader.segments if s["micrograph"] == name)
    values = np.memmap(manifest.parent / segment["input_file"], np.float32, "r+")
    first = segment["input_offset_bytes"] // values.itemsize
    values[first + (i - segment["first_patch"]) * 256 + 3] = np.nan
    values.flush()
    return name, y, x


def mean_squared_error(manifest, split, network):
    """The loss of a split by its definition, in float64."""
    network = network.double()
    with open_split(manifest, split) as reader, torch.no_grad():
        pairs = [
            [torch.from_numpy(side)[None, None] for side in reader.read(i)]
            for i in range(len(reader))
        ]
    errors = [(network(image.double()) - target).square() for image, target in pairs]
    return torch.cat(errors).mean().item()


def test_both_splits_are_evaluated_over_all_their_pixels(manifest, tmp_path):
    """9 and 3 patches in batches of 4: both splits end in an uneven batch."""
    training = train(manifest, tmp_path, batch_size=4, learning_rate=0.01)
    rows = read_history(tmp_path / "history.tsv")
    assert list(rows[0]) == list(COLUMNS)
    assert [int(row["step"]) for row in rows] == [3, 6]
    network = training.optimization.network
    for split in ("train", "test"):
        expected = mean_squared_error(manifest, split, network)
        assert float(rows[-1][f"{split}_loss"]) == pytest.approx(expected, rel=1e-5)
        assert float(rows[-1][f"noise_floor_{split}"]) == NOISE_FLOOR


def test_a_step_follows_the_gradient_of_the_mean_over_pixels(manifest):
    """One SGD step is checked against the definition in float64."""
    network = build_network("simple_cnn")
    oracle = build_network("simple_cnn").double()
    oracle.load_state_dict(network.state_dict())
    image, target = torch.randn(3, 1, 12, 20), torch.randn(3, 1, 12, 20)
    loss = torch.nn.functional.mse_loss(oracle(image.double()), target.double())
    loss.backward()
    step = Optimization(
        network, torch.device("cpu"), optimizer="sgd", learning_rate=0.5, precision="float32"
    )
    report = step.step(image, target, target.numel())
    assert report.tolist() == pytest.approx([loss.item()], rel=1e-6)
    for parameter, exact in zip(network.parameters(), oracle.parameters(), strict=True):
        expected = exact - 0.5 * exact.grad
        assert torch.allclose(parameter.double(), expected, rtol=1e-5, atol=1e-7)


def test_the_noise_falls_and_the_floor_holds(tmp_path):
    """From halves alone the network learns the signal: the loss nears the noise, not zero."""
    manifest = write_dataset(tmp_path / "dataset", train=(40, 40), test=(16,), size_px=24)
    training = train(manifest, tmp_path, epochs=15, learning_rate=0.01)
    assert 0.9 * NOISE_FLOOR < training.rows[-1]["test_loss"] < 1.2 * NOISE_FLOOR
    with open_split(manifest, "test") as reader:
        halves = np.array([reader.read(i) for i in range(len(reader))], dtype=float)
    assert halves[:, 1].var() > 1.5 * NOISE_FLOOR  # a constant output, and ...
    assert (halves[:, 0] - halves[:, 1]).var() > 1.5 * NOISE_FLOOR  # a copied input, do worse


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
def test_lower_precisions_train_to_about_the_same_loss(manifest, tmp_path, precision):
    exact = train(manifest, tmp_path / "float32", epochs=4, learning_rate=0.01)
    rounded = train(
        manifest, tmp_path / precision, epochs=4, learning_rate=0.01, precision=precision
    )
    losses = [run.rows[-1]["train_loss"] for run in (exact, rounded)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert all(np.isfinite(weight).all() for weight in weights_of(rounded).values())


def test_float16_patches_are_trained_on_in_float32(tmp_path):
    losses = []
    for dtype in ("float32", "float16"):
        manifest = write_dataset(tmp_path / dtype, dtype=dtype)
        losses.append(train(manifest, tmp_path / dtype).rows[-1]["test_loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_repeat_is_equal_to_the_last_bit_and_another_seed_is_not(manifest, tmp_path):
    one = train(manifest, tmp_path / "1", deterministic=True)
    assert_same_weights(one, train(manifest, tmp_path / "2", reader_threads=5, buffer_mib=1))
    other = train(manifest, tmp_path / "3", seed=1)
    assert not np.array_equal(weights_of(one)["conv1.bias"], weights_of(other)["conv1.bias"])


def test_augmentation_changes_what_is_learned(manifest, tmp_path):
    one = train(manifest, tmp_path / "1")
    other = train(manifest, tmp_path / "2", augmentation=False)
    assert not np.array_equal(weights_of(one)["conv1.bias"], weights_of(other)["conv1.bias"])


def test_halves_swap_where_they_may_and_other_targets_never(tmp_path):
    manifest = write_dataset(tmp_path)
    content = json.loads(manifest.read_text())
    content["noise_floor"] = {"train": None, "test": None}
    single = write_manifest(tmp_path / "single.json", content)
    cases = (manifest, True, True), (manifest, False, False), (single, True, False)
    for path, asked, expected in cases:
        swapped, training = False, build_training(path, swap_halves=asked)
        with training.feed as feed, open_split(path, "train") as reader:
            inputs = {round(float(reader.read(i)[0].sum()), 2) for i in range(len(reader))}
            for epoch in range(4):
                for batch in feed.training_batches(epoch):
                    sums = {round(float(patch.sum()), 2) for patch in batch.input}
                    swapped |= not sums <= inputs
        assert swapped == expected


def test_initial_weights_are_where_a_training_starts(manifest, tmp_path):
    start = train(manifest, tmp_path / "old", learning_rate=0.01)
    file = tmp_path / "old.safetensors"
    save_model(file, start.optimization.network, {"architecture": "simple_cnn"})
    training = build_training(manifest, initial_weights=str(file))
    assert_same_weights(training, start)
    with pytest.raises(InputError, match="no such model"):
        build_training(manifest, initial_weights=str(tmp_path / "none.safetensors"))


def test_a_loss_that_is_not_finite_names_the_patches_and_keeps_the_checkpoint(manifest, tmp_path):
    train(manifest, tmp_path, epochs=1, learning_rate=0.01)
    good = (tmp_path / "checkpoint.pt").read_bytes()
    name, y, x = spoil_a_pixel(manifest, "train", 6)
    with pytest.raises(InputError) as caught:
        train(manifest, tmp_path, epochs=2, learning_rate=0.01)
    text = str(caught.value)
    assert "the loss is nan in epoch 2, batch" in text
    assert f"{name} (y {y}, x {x}, 1 pixels not finite)" in text
    assert text.count("pixels not finite") == 1
    assert "\n" not in text
    assert (tmp_path / "checkpoint.pt").read_bytes() == good
    assert text.endswith("lower learning_rate; the last good checkpoint is kept")


def test_a_loss_of_the_test_split_that_is_not_finite_names_the_patches(tmp_path):
    manifest = write_dataset(tmp_path / "dataset", test=(3, 6))
    name, y, x = spoil_a_pixel(manifest, "test", 5)
    with pytest.raises(InputError) as caught:
        train(manifest, tmp_path)
    text = str(caught.value)
    assert "the loss of the test split is nan after epoch 1, batch 2: found patches" in text
    assert f"{name} (y {y}, x {x}, 1 pixels not finite)" in text
    assert text.count("(y ") == 4  # the batch
    assert text.count("pixels not finite") == 1
    assert text.endswith("look at these or lower learning_rate")  # no checkpoint was written
    assert "\n" not in text


@pytest.mark.parametrize("ended", [True, False])
def test_no_file_of_the_dataset_stays_open(manifest, tmp_path, monkeypatch, ended):
    if not ended:
        monkeypatch.setattr(Optimization, "is_finite", lambda _: False)
    training = build_training(manifest)
    with contextlib.nullcontext() if ended else pytest.raises(InputError):
        training.run(tmp_path / "checkpoint.pt")
    assert [len(reader._files) for reader in training.feed.readers.values()] == [0, 0]


def test_weights_that_diverge_stop_the_training(manifest, tmp_path):
    with pytest.raises(
        InputError, match=r"(not finite|loss is (nan|inf)).*lower learning_rate"
    ) as caught:
        train(manifest, tmp_path, optimizer="sgd", learning_rate=1e30, epochs=5)
    assert not (tmp_path / "checkpoint.pt").exists()
    assert "is kept" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2 GiB.\nSee its documentation"
        ),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_want_of_memory_says_what_to_lower(manifest, tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Optimization, "step", fail)
    with pytest.raises(
        InputError, match=r"lower batch_size \(now 4\) or patches.size_px \(now 16\)"
    ) as c:
        train(manifest, tmp_path)
    assert "\n" not in str(c.value)


def test_other_faults_are_not_called_want_of_memory(manifest, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("something else")

    monkeypatch.setattr(Optimization, "step", fail)
    with pytest.raises(RuntimeError, match="something else"):
        train(manifest, tmp_path)


def test_the_script_writes_model_history_and_record(manifest, tmp_path):
    arguments = [str(manifest), str(tmp_path / "out"), "--set", "epochs=1", "--set=device=cpu"]
    script().main(arguments)
    network, metadata = load_model(tmp_path / "out" / "denoiser.safetensors")
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert metadata["dataset_xxh3"] == json.loads(manifest.read_text())["data_xxh3"]
    assert metadata["epochs"] == "1"
    assert json.loads(metadata["config"])["epochs"] == 1
    assert record["device"] == "CPU"
    assert record["arithmetic"]["cudnn.allow_tf32"] is False
    expected = mean_squared_error(manifest, "test", network)
    assert record["last_epoch"]["test_loss"] == pytest.approx(expected, rel=1e-5)
    with pytest.raises(InputError, match=r"unknown key .*\.epoch:.*did you mean epochs"):
        script().main([*arguments, "--set", "epoch=3"])


def test_threads_by_hand_are_used_and_are_no_setting_of_the_model(manifest, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "")  # restored after the test
    before = torch.get_num_threads()
    arguments = ["--set", "epochs=1", "--set=device=cpu", "--set", "threads=3"]
    try:
        script().main([str(manifest), str(tmp_path), *arguments])
    finally:
        torch.set_num_threads(before)
    _, metadata = load_model(tmp_path / "denoiser.safetensors")
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["threads"] == 3
    assert "threads" not in record["settings"]
    assert "threads" not in json.loads(metadata["config"])  # as the workflow writes it
