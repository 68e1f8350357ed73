"""A training interrupted at any moment and by any means ends as if it had not been."""

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from clearice.model.optimization import Optimization
from clearice.model.weights import load_model
from training_data import (
    SCRIPTS,
    assert_same_weights,
    run_script,
    train,
    weights_of,
    write_dataset,
)

SETTINGS = {"epochs": 3, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"), train=(9, 8), test=(5,))


@pytest.fixture(scope="module")
def whole(manifest, tmp_path_factory):
    """An uninterrupted training: 15 steps in 3 epochs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield train(manifest, tmp_path_factory.mktemp("whole"), **SETTINGS)
    torch.set_num_threads(threads)


def losses_of(training):
    columns = ("epoch", "step", "train_loss", "test_loss", "batch_loss")
    return [[row[column] for column in columns] for row in training.rows]


def signal_at(monkeypatch, method, calls, number):
    """Let `method` of Optimization send this process a signal in its `calls`-th call."""
    original, count = getattr(Optimization, method), 0

    def with_signal(self, *arguments, **keywords):
        nonlocal count
        count += 1
        if count == calls:
            os.kill(os.getpid(), number)
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(Optimization, method, with_signal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("step", [1, 4, 5, 6, 14, 15])
def test_a_signal_in_any_step(manifest, whole, tmp_path, monkeypatch, step, number):
    """Steps 5 and 15 are the last of an epoch (a smaller batch), 1 and 6 the first."""
    with monkeypatch.context() as patch:
        signal_at(patch, "step", step, number)
        with pytest.raises(SystemExit) as stopped:
            train(manifest, tmp_path, **SETTINGS)
    assert stopped.value.code == 128 + number
    continued = train(manifest, tmp_path, **SETTINGS)
    assert continued.course.interruptions == 1
    assert_same_weights(continued, whole)
    assert losses_of(continued) == losses_of(whole)


@pytest.mark.parametrize("call", [1, 6, 7])
def test_a_signal_during_evaluation(manifest, whole, tmp_path, monkeypatch, call):
    """An evaluation is 5 + 2 batches; it is repeated."""
    with monkeypatch.context() as patch:
        signal_at(patch, "error_sum", call, signal.SIGTERM)
        with pytest.raises(SystemExit):
            train(manifest, tmp_path, **SETTINGS)
    continued = train(manifest, tmp_path, **SETTINGS)
    assert_same_weights(continued, whole)
    assert losses_of(continued) == losses_of(whole)


def test_many_signals_in_one_training(manifest, whole, tmp_path, monkeypatch):
    continued = None
    for _ in range(8):  # 15 steps, two per attempt
        assert continued is None
        with monkeypatch.context() as patch, contextlib.suppress(SystemExit):
            signal_at(patch, "step", 2, signal.SIGTERM)
            continued = train(manifest, tmp_path, **SETTINGS)
    assert_same_weights(continued, whole)
    assert losses_of(continued) == losses_of(whole)


def test_a_second_signal_costs_nothing(manifest, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        signal_at(patch, "step", 4, signal.SIGINT)
        signal_at(patch, "is_finite", 1, signal.SIGTERM)  # while the checkpoint is written
        with pytest.raises(SystemExit) as stopped:
            train(manifest, tmp_path, **SETTINGS)
    assert stopped.value.code == 128 + signal.SIGINT
    assert_same_weights(train(manifest, tmp_path, **SETTINGS), whole)


# The same with real processes, which may be starting, reading or writing.


def command(manifest, folder, **settings):
    options = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
    script = str(SCRIPTS / "train_denoiser.py")
    return [sys.executable, script, str(manifest), str(folder), "--set=device=cpu", *options]


def run_until_done(arguments, moments, number, checkpoint):
    """Start the training repeatedly, with a signal after each of `moments` (s).

    The moments count from the first checkpoint of each start. Returns the exit statuses.
    """
    statuses, environment = [], {**os.environ, "OMP_NUM_THREADS": "1"}
    for moment in [*moments, None]:
        before = time_of_change(checkpoint)
        with subprocess.Popen(arguments, env=environment, stderr=subprocess.DEVNULL) as process:
            if moment is not None:
                while time_of_change(checkpoint) == before and process.poll() is None:
                    time.sleep(0.01)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(moment)
                process.send_signal(number)
        statuses.append(process.returncode)
    return statuses


def time_of_change(path):
    """Return when a file was last replaced, None if it does not exist."""
    return path.stat().st_mtime_ns if path.exists() else None


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL]
)
@pytest.mark.usefixtures("whole")  # sets the number of threads, on which the last bits depend
def test_a_process_that_is_killed_at_random_moments(manifest, tmp_path, number):
    """SIGKILL loses only what came after the last checkpoint."""
    settings = {"epochs": 80, "checkpoint_minutes": 1e-4}
    folder = tmp_path / "killed"
    seed = random.randrange(1000)
    print(f"moments are drawn with seed {seed}")
    moments = [random.Random(seed).uniform(0, 1.5) for _ in range(2)]
    arguments = command(manifest, folder, **settings)
    statuses = run_until_done(arguments, moments, number, folder / "checkpoint.pt")
    assert statuses[-1] == 0
    assert set(statuses[:-1]) <= {128 + number, -number, 0}  # -number: outside the training
    network, _ = load_model(folder / "denoiser.safetensors")
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    assert_same_weights(weights, train(manifest, tmp_path / "whole", **settings))
    assert not list(folder.glob("*.part*"))


@pytest.mark.usefixtures("whole")
def test_a_continued_stage_that_is_killed_ends_in_the_same_bytes(tmp_path):
    """It continues from its own checkpoint, and its network is that of the first stage again."""
    settings = {"continue_training": True, "continue_epochs": 240, "checkpoint_minutes": 1e-4}
    counts = {"first": (9, 8), "grown": (9, 8, 7)}
    first, grown = (
        write_dataset(tmp_path / name, train=train, test=(5,)) for name, train in counts.items()
    )
    folder, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    run_script(first, folder, epochs=2, **settings)
    shutil.copytree(folder, undisturbed)
    expected = run_script(grown, undisturbed, epochs=2, **settings)
    arguments = command(grown, folder, epochs=2, **settings)
    statuses = run_until_done(arguments, [0.3, 0.1], signal.SIGKILL, folder / "checkpoint.pt")
    assert statuses == [-signal.SIGKILL, -signal.SIGKILL, 0]
    record = json.loads((folder / "training.json").read_text())
    assert (record["stage"], record["last_epoch"]["epoch"]) == (2, 242)
    assert record["interruptions"] > 0
    assert record["model_xxh3"] == expected["model_xxh3"]
    for path in ("denoiser.safetensors", "stages/1/denoiser.safetensors"):
        assert (folder / path).read_bytes() == (undisturbed / path).read_bytes()
    assert not list(folder.rglob("*.part*"))


def test_two_processes_name_the_patches_of_a_loss_that_is_not_finite(tmp_path):
    """The pixel is in the second process's part; both processes report it."""
    manifest = write_dataset(tmp_path / "dataset", test=(8,))
    values = np.memmap(tmp_path / "dataset" / "test.input", np.float32, "r+")
    values[6 * 256] = np.nan
    values.flush()
    arguments = command(manifest, tmp_path / "two", devices=2, epochs=1)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.run(arguments, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.returncode == 1
    lines = [line for line in process.stderr.splitlines() if "test split is nan" in line]
    assert lines  # the first process to report it stops the other
    for line in lines:
        assert "after epoch 1, batch 2: found patches test_0 (y 64, x 7), " in line
        assert "test_0 (y 96, x 7, 1 pixels not finite)" in line
    assert "Traceback" not in process.stderr


@pytest.mark.usefixtures("whole")
def test_two_processes_train_as_one_and_stop_as_one(manifest, tmp_path):
    """gloo between two CPU processes: the loss curve of one process, to rounding."""
    settings = {"epochs": 24, "checkpoint_minutes": 1e-4}
    arguments = command(manifest, tmp_path / "two", devices=2, **settings)
    checkpoint = tmp_path / "two" / "checkpoint.pt"
    statuses = run_until_done(arguments, [0.1], signal.SIGTERM, checkpoint)
    assert statuses == [143, 0]
    record = json.loads((tmp_path / "two" / "training.json").read_text())
    assert record["devices"] == 2
    assert record["interruptions"] == 1
    one = train(manifest, tmp_path / "one", **settings)
    with open(tmp_path / "two" / "history.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for column in ("train_loss", "test_loss", "batch_loss"):
        losses = [float(row[column]) for row in rows]
        assert losses == pytest.approx([row[column] for row in one.rows], rel=1e-4)
    network, _ = load_model(tmp_path / "two" / "denoiser.safetensors")
    for name, weight in weights_of(one).items():
        found = network.state_dict()[name].numpy()
        assert found == pytest.approx(weight, rel=1e-2, abs=1e-3), name
