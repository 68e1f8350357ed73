"""A closed terminal, Ctrl-C twice and a kill -9: the training goes on where it was, in one run."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from clearice.stopping import children
from conftest import REPOSITORY, run_snakemake, write_config
from training_data import SCRIPTS, write_dataset

LIMIT_S = 240


@pytest.fixture
def training(tmp_path, tiny_config):
    """A function that starts a run in a session of its own: (process, its folder) in training."""
    tiny_config["model"]["simple_cnn"] |= {"epochs": 100_000, "checkpoint_minutes": 0.01}
    tiny_config["parity"] = {"implementations": {}}
    tiny_config["denoised"] = {"enabled": False}
    write_config(tmp_path, tiny_config)
    started = []

    def start(*prefix):
        command = [*prefix, sys.executable, "-m", "snakemake", "--cores", "2", "--directory"]
        with open(tmp_path / "said", "wb") as said:
            process = subprocess.Popen(
                [*command, tmp_path, "model"],
                cwd=REPOSITORY,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        wait_for(lambda: checkpoint(tmp_path).exists(), process)
        return process, tmp_path

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def checkpoint(folder):
    return folder / "results" / "model" / "simple_cnn" / "checkpoint.pt"


def wait_for(happened, process=None):
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.05)


def log_of(folder):
    return checkpoint(folder).with_name("train_denoiser.log").read_text()


def assert_next_run_starts(folder):
    """The same configuration would train for days, so a target before the training is asked for."""
    said = run_snakemake(folder, "--cores", "1", "dataset").stdout
    assert "LockException" not in said
    assert "Traceback" not in said
    return said


@pytest.mark.slow
@pytest.mark.parametrize("whole_group", [True, False])
def test_a_closed_terminal_ends_the_run_with_a_checkpoint(training, whole_group):
    process, folder = training()
    checkpoint(folder).unlink()
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGHUP)
    assert process.wait(LIMIT_S) == 1
    assert checkpoint(folder).exists()
    assert "continues from here" in log_of(folder)
    assert "Traceback" not in (folder / "said").read_text()
    assert not (folder / ".snakemake" / "locks").exists()
    assert_next_run_starts(folder)


@pytest.mark.slow
def test_nohup_outlives_its_terminal(training):
    process, folder = training("nohup")
    os.killpg(process.pid, signal.SIGHUP)
    before = checkpoint(folder).stat().st_mtime_ns
    wait_for(lambda: checkpoint(folder).stat().st_mtime_ns != before, process)
    os.killpg(process.pid, signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)


@pytest.mark.slow
def test_ctrl_c_twice_is_as_orderly_as_once(training):
    process, folder = training()
    checkpoint(folder).unlink()
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.2)
    assert process.wait(LIMIT_S) == 1
    assert checkpoint(folder).exists()
    assert "Traceback" not in (folder / "said").read_text() + log_of(folder)
    assert not (folder / ".snakemake" / "locks").exists()


@pytest.mark.slow
def test_after_kill_9_the_next_run_starts_and_names_the_training_that_lives_on(training):
    process, folder = training()
    (orphan,) = children(process.pid)
    try:
        process.kill()
        process.wait()
        assert any((folder / ".snakemake" / "locks").iterdir())
        assert "taking over from a run that was killed" in assert_next_run_starts(folder)
        refused = run_snakemake(folder, "--cores", "1", "model", check=False)
        assert refused.returncode == 1
        (line,) = [x for x in refused.stdout.splitlines() if x.startswith("train_denoiser: ")]
        assert f"another process is training into it: found process {orphan} on " in line
        assert f"(kill {orphan})" in line
        assert "Traceback" not in refused.stdout
    finally:
        os.kill(orphan, signal.SIGTERM)  # what the line says
    wait_for(lambda: not os.path.exists(f"/proc/{orphan}"))
    assert checkpoint(folder).exists()


def test_a_terminal_that_closes_costs_no_checkpoint(tmp_path):
    """By hand: what the training prints after the hang-up can go nowhere."""
    manifest = write_dataset(tmp_path / "dataset")
    script = str(SCRIPTS / "train_denoiser.py")
    words = [sys.executable, script, str(manifest), str(tmp_path / "model")]
    words += ["--set=device=cpu", "--set=epochs=100000", "--set=checkpoint_minutes=0.001"]
    process, terminal = pty.fork()
    if process == 0:
        os.execv(words[0], words)
    path = tmp_path / "model" / "checkpoint.pt"
    deadline = time.monotonic() + LIMIT_S
    os.set_blocking(terminal, False)
    while not path.exists():
        assert time.monotonic() < deadline
        with contextlib.suppress(BlockingIOError):
            os.read(terminal, 65536)
        time.sleep(0.01)
    path.unlink()
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 128 + signal.SIGHUP
    assert path.exists()
