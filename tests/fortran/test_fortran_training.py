"""The Fortran loader and training beside the Python ones: same order, same pixels, same losses."""

import csv
import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from clearice.dataset.manifest import read_manifest
from clearice.dataset.namelists import dataset_namelists
from clearice.model.epochs import batches_of, epoch_codes, epoch_order
from clearice.model.weights import load_model
from training_data import build_training, write_dataset

SEED, EPOCH = 7, 3


@pytest.fixture
def dataset(tmp_path):
    """A dataset of patches of 24 px, with its namelists; return its folder."""
    folder = tmp_path / "data's set"
    manifest = read_manifest(write_dataset(folder, train=(4, 7), test=(3,), size_px=24))
    (folder / "manifest.nml").write_text(dataset_namelists(manifest))
    return folder


def checksum(values):
    """Return the sum of word * (place + 1) over the 32-bit words, modulo 2^64, as hex digits."""
    words = np.ascontiguousarray(values, "<f4").view("<u4").ravel().astype(np.uint64)
    return f"{int((words * np.arange(1, words.size + 1, dtype=np.uint64)).sum()):016X}"


def numbers(text):
    return [int(word) for word in text.split(",")]


def table(text):
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))


def test_orders_turns_and_pixels_are_those_of_the_python_loader(programs, dataset):
    done = programs.run("clearice_load", "--dataset", dataset, "--seed", SEED, "--epoch", EPOCH)
    assert done.returncode == 0, done.stderr
    rows = table(done.stdout)
    order, codes = epoch_order(11, SEED, EPOCH), epoch_codes(11, SEED, EPOCH, swap=True)
    batches = batches_of(order, 4)
    training = build_training(dataset / "manifest.json", seed=SEED, swap_halves=True)
    with training.feed as feed:
        fed = [
            (b.input.numpy().copy(), b.target.numpy().copy()) for b in feed.training_batches(EPOCH)
        ]
    assert len(rows) == len(fed) == 3
    for row, (indices, _), pair in zip(rows, batches, fed, strict=True):
        assert numbers(row["patches"]) == indices.tolist()
        assert numbers(row["turns"]) == codes[indices].tolist()
        assert [row["input"], row["target"]] == [checksum(side) for side in pair]
    assert "MB/s" in done.stderr


@pytest.mark.parametrize("count", [1, 2, 5, 1000, 4097])
def test_orders_of_any_length_are_permutations_that_agree(fast, tmp_path, count):
    folder = tmp_path / "dataset"
    manifest = read_manifest(write_dataset(folder, train=(count,), test=(1,), size_px=2))
    (folder / "manifest.nml").write_text(dataset_namelists(manifest))
    seed = 2**63 + 12345 - 2**64 if count == 5 else 1  # the bits of a seed above 2^63
    done = fast.run("clearice_load", "--dataset", folder, "--seed", seed, "--batch-size", count)
    (row,) = table(done.stdout)
    assert numbers(row["patches"]) == epoch_order(count, seed % 2**64, 0).tolist()


def losses_of_python(training):
    """Return the loss of every step of a Training, in this process."""
    losses = []
    with training.feed as feed:
        for epoch in range(training.settings["epochs"]):
            for batch in feed.training_batches(epoch):
                pixels = batch.input.numel()
                report = training.optimization.step(batch.input, batch.target, pixels)
                losses.append(float(report[0]))
    return losses


def write_weights(folder, training):
    """Write the weights of a Training as raw files."""
    folder.mkdir()
    for name, tensor in training.optimization.network.state_dict().items():
        tensor.numpy().astype("<f4").tofile(folder / f"{name.replace('.', '_')}.bin")


@pytest.mark.parametrize("optimizer", ["adam", pytest.param("sgd", marks=pytest.mark.long)])
def test_a_training_has_the_losses_of_the_python_training(programs, dataset, tmp_path, optimizer):
    settings = {"optimizer": optimizer, "learning_rate": 0.01, "epochs": 17, "seed": SEED}
    training = build_training(dataset / "manifest.json", swap_halves=True, **settings)
    write_weights(tmp_path / "weights", training)
    done = programs.run(
        "clearice_train", "--dataset", dataset, "--weights", tmp_path / "weights",
        "--output", tmp_path / "model", "--optimizer", optimizer, "--learning-rate", "0.01",
        "--epochs", "17", "--seed", SEED,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = table((tmp_path / "model" / "training_loss.tsv").read_text())
    ours = np.array([float(row["loss"]) for row in rows])
    theirs = np.array(losses_of_python(training))
    assert len(ours) == len(theirs) == 51
    assert np.abs(ours / theirs - 1).max() < 1e-5
    history = table((tmp_path / "model" / "history.tsv").read_text())
    assert [row["epoch"] for row in history] == [str(n) for n in range(1, 18)]
    network, metadata = load_model(tmp_path / "model" / "denoiser.safetensors")
    assert metadata["dataset_xxh3"] == training.manifest["data_xxh3"]
    for name, tensor in training.optimization.network.state_dict().items():
        assert np.allclose(network.state_dict()[name], tensor, rtol=0, atol=1e-5), name


def test_an_interrupted_training_ends_in_the_same_bytes(fast, dataset, tmp_path):
    def train(output, epochs):
        done = fast.run(
            "clearice_train", "--dataset", dataset, "--output", output, "--epochs", epochs
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    train(tmp_path / "whole", 4)
    train(tmp_path / "parts", 2)
    assert "continues from" in train(tmp_path / "parts", 4)
    for name in ("denoiser.safetensors", "training_loss.tsv"):
        parts, whole = ((tmp_path / kind / name).read_bytes() for kind in ("parts", "whole"))
        assert parts == whole, name


OTHERS = [pytest.param(n, marks=pytest.mark.long) for n in (signal.SIGINT, signal.SIGHUP)]


@pytest.mark.parametrize("number", [signal.SIGTERM, *OTHERS])
def test_a_signal_leaves_a_checkpoint_that_ends_in_the_same_bytes(fast, dataset, tmp_path, number):
    def words(output):
        options = ["--epochs", 400, "--checkpoint-minutes", 100]
        command = [fast.folder / "clearice_train", "--dataset", dataset, "--output", output]
        return list(map(str, [*command, *options]))

    process = subprocess.Popen(
        words(tmp_path / "parts"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().startswith("epoch 1:")
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode == 128 + number, said
    assert said.startswith("interrupted; ")
    assert not (tmp_path / "parts" / "denoiser.safetensors").exists()
    for output in ("parts", "whole"):
        done = subprocess.run(words(tmp_path / output), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert ("continues from" in done.stdout) == (output == "parts")
    for name in ("denoiser.safetensors", "training_loss.tsv"):
        parts, whole = ((tmp_path / kind / name).read_bytes() for kind in ("parts", "whole"))
        assert parts == whole, name


def test_another_training_does_not_continue_from_this_checkpoint(fast, dataset, tmp_path):
    words = ["clearice_train", "--dataset", dataset, "--output", tmp_path / "m", "--epochs", 1]
    assert fast.run(*words).returncode == 0
    done = fast.run(*words, "--seed", 5)
    assert done.returncode == 1
    assert "checkpoint.bin: a checkpoint of another training; delete it" in done.stderr


def test_a_dataset_that_is_cut_short_is_one_line(programs, dataset):
    file = dataset / "train.input"
    file.write_bytes(file.read_bytes()[:-1])
    done = programs.run("clearice_load", "--dataset", dataset)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {file}: shorter than the manifest says: expected ")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("layout", "planes", "a dataset without patches: expected layout patches, found planes"),
        ("layout", "tiles", "a dataset of another version"),
        ("format_version", 99, "a dataset of another version"),
        ("dtype", "float16", "patches of another type: expected float32, found float16"),
    ],
)
def test_what_it_cannot_read_is_one_line(fast, dataset, key, value, words):
    manifest = json.loads((dataset / "manifest.json").read_text()) | {key: value}
    (dataset / "manifest.nml").write_text(dataset_namelists(manifest))
    done = fast.run("clearice_load", "--dataset", dataset)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert words in done.stderr


def test_the_dataset_may_lie_anywhere(fast, dataset, tmp_path):
    shutil.move(dataset, tmp_path / "else where")
    done = fast.run("clearice_load", "--dataset", tmp_path / "else where", "--checksums", "no")
    assert done.returncode == 0, done.stderr


PEAK = """
import os, sys
pid = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
print(status, usage.ru_maxrss, file=sys.stderr)
"""


def peak_mib(words):
    """Run a command; return its own peak of resident memory, in MiB.

    A small process starts it: a peak begins with that of the process that made it.
    """
    done = subprocess.run(
        [sys.executable, "-S", "-c", PEAK, *map(str, words)], capture_output=True, text=True
    )
    status, peak_kib = done.stderr.splitlines()[-1].split()
    assert status == "0", done.stderr
    return int(peak_kib) / 1024


def test_memory_does_not_grow_with_the_dataset(fast, tmp_path):
    peaks = []
    for count in (40, 800):  # 5 and 105 MB
        folder = tmp_path / str(count)
        manifest = read_manifest(write_dataset(folder, train=(count,), test=(1,), size_px=128))
        (folder / "manifest.nml").write_text(dataset_namelists(manifest))
        peaks.append(peak_mib([fast.folder / "clearice_load", "--dataset", folder]))
    assert peaks[1] < peaks[0] + 2
    assert peaks[1] < 64  # of this, two buffers of 4 pairs are 1 MiB: the rest is the program
