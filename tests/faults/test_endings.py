"""How a run ends on a terminal and in a pipe: the last line says why, and where more is said."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clearice.stopping import descendants
from conftest import REPOSITORY, TINY_CONFIG, write_config
from mrc_files import noise_image, write_mrc
from terminal_screen import run_on_terminal

PROFILE = REPOSITORY / "workflow" / "profiles" / "default"
SLOW = {"count": 2, "height_px": 4096, "width_px": 4096}  # seconds, long enough to be killed
PATCHES = {"size_px": 64, "stride_px": 64, "target": "lowpass"}


def command(folder, *arguments):
    """Return the words of a run in `folder` with the default profile."""
    words = [sys.executable, "-m", "snakemake", "--workflow-profile", PROFILE, "--cores", "2"]
    return [*map(str, words), "--directory", str(folder), *arguments]


def ended_in_a_pipe(folder, *arguments):
    """Return exit status and lines of a run whose output is read by another process."""
    run = subprocess.run(
        command(folder, *arguments), cwd=REPOSITORY, capture_output=True, text=True, timeout=300
    )
    assert "\x1b" not in run.stdout + run.stderr
    return run.returncode, (run.stdout + run.stderr).splitlines()


def ended_on_a_terminal(folder, *arguments, watch=lambda terminal: None):
    """Return exit status and lines of a run on a terminal that wraps no line."""
    words = command(folder, *arguments)
    environment = os.environ | {"TERM": "xterm"}
    return run_on_terminal(words, watch, 500, cwd=REPOSITORY, env=environment)


@pytest.fixture
def truncated(tmp_path):
    """A folder of four micrographs; the whole copying of two of them failed."""
    (tmp_path / "data").mkdir()
    for number in range(4):
        path = tmp_path / "data" / f"m{number}.mrc"
        write_mrc(path, noise_image(64, 96, number))
        if number < 2:
            path.write_bytes(path.read_bytes()[:5000])
        os.utime(path, (1e9, 1e9))
    files = {"source": "files", "files": "data/*.mrc", "on_error": "stop"}
    write_config(tmp_path, {"micrographs": files, "patches": PATCHES})
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("ended", [ended_in_a_pipe, ended_on_a_terminal])
def test_a_broken_micrograph(truncated, ended):
    status, lines = ended(truncated, "dataset")
    assert status == 1
    assert re.fullmatch(
        r"error: shard_micrograph m[01]: data/m[01]\.mrc: truncated: .*; "
        r"log: results/shards/m[01]\.log.*",
        lines[-1],
    )
    assert sum("CalledProcessError" in line or "Error in rule" in line for line in lines) == 0
    (log,) = truncated.glob(".snakemake/log/*.log")
    assert "Error in rule shard_micrograph" in log.read_text()


@pytest.mark.slow
def test_several_failures_are_counted(truncated):
    _, lines = ended_in_a_pipe(truncated, "dataset", "--keep-going")
    assert "; 1 more job failed: .snakemake/log/" in lines[-1]


@pytest.mark.parametrize("ended", [ended_in_a_pipe, ended_on_a_terminal])
def test_a_key_that_does_not_exist(tmp_path, ended):
    write_config(tmp_path, {"patches": {"size": 64}})
    status, lines = ended(tmp_path)
    assert status == 1
    assert lines[-1].startswith("error: config.yaml: unknown key patches.size")


def kill_the_job(terminal, folder):
    """Kill the script of a job, once its bar is there."""
    if not any(line.startswith("simulate_micrograph") for line in terminal.lines):
        return
    for pid in descendants({os.getpid()}):
        words = Path(f"/proc/{pid}/cmdline")
        if words.exists() and f"{folder}/.snakemake/scripts/".encode() in words.read_bytes():
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_job_that_was_killed_without_a_word(tmp_path):
    write_config(tmp_path, {"simulation": SLOW})

    def watch(terminal):
        kill_the_job(terminal, tmp_path)

    status, lines = ended_on_a_terminal(tmp_path, "micrographs", watch=watch)
    assert status == 1
    assert re.match(
        r"error: simulate_micrograph sim_000\d: it was killed \(SIGKILL\), as the system does when "
        r"memory is short; log: results/micrographs/sim_000\d\.log",
        lines[-1],
    )
    assert not any("all jobs" in line for line in lines)  # the bars are gone


@pytest.mark.slow
def test_ctrl_c(tmp_path):
    write_config(tmp_path, {"simulation": SLOW})
    typed = []

    def watch(terminal):
        if not typed and any(line.startswith("simulate_micrograph") for line in terminal.lines):
            typed.append(terminal.type(b"\x03"))

    status, lines = ended_on_a_terminal(tmp_path, "micrographs", watch=watch)
    assert status == 1
    # After the ^C of the terminal, or after what was drawn between the two.
    stopping = "stopping: the jobs write what they continue from"
    assert any(line.endswith(stopping) for line in lines), lines
    assert lines[-1] == "interrupted; the same command goes on from here"
    assert not any("all jobs" in line for line in lines)


@pytest.mark.slow
def test_a_run_that_goes_well_leaves_a_line_a_rule(tmp_path):
    write_config(tmp_path, TINY_CONFIG)
    status, lines = ended_on_a_terminal(tmp_path, "micrographs")
    assert status == 0
    said = [re.sub(r"[\d.]+ s$", "S", line) for line in lines if not line.startswith("Using")]
    assert said[0] == "4 jobs: 3 simulate_micrograph, 1 micrographs"
    assert said[1] == "✓ simulate_micrograph: 3 jobs in S"
    assert said[-1] == "✓ 4 jobs in S"
