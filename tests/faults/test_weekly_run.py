"""The line for cron of docs/growing.md, as it stands there, run by a shell."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from clearice.run_records import read_runs
from conftest import REPOSITORY, write_config
from mrc_files import noise_image, write_mrc

pytestmark = pytest.mark.slow


def cron_command(folder):
    """Return the command of the page, with the paths of this test and the dataset as its target."""
    page = (REPOSITORY / "docs" / "growing.md").read_text()
    (line,) = re.findall(r"^    15 2 \* \* 1  (cd .*)$", page, re.M)
    line = line.replace(".venv/bin/snakemake", f"{sys.executable} -m snakemake")
    changed = line.replace("/opt/clearice", str(REPOSITORY)).replace("/data/run", str(folder))
    return changed.replace("--cores 16", "--cores 1 --until concatenate_shards")


def start(folder):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command = ["sh", "-c", cron_command(folder)]
    return subprocess.Popen(command, env=clean(), start_new_session=True, **pipes)


def clean():
    """Return the environment that cron gives, more or less."""
    kept = ("PATH", "HOME", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "run"
    write_config(
        folder,
        {
            "micrographs": {"source": "files", "files": "data/*.mrc"},
            "patches": {"size_px": 64, "stride_px": 64, "target": "lowpass"},
        },
    )
    (folder / "data").mkdir()
    for number in range(4):
        write_mrc(folder / f"data/m{number}.mrc", noise_image(64, 96, number))
    return folder


def wait_for(path, process):
    while not path.exists() and process.poll() is None:
        time.sleep(0.02)


def test_the_line_twice_at_once_works_once_and_says_so(folder):
    first = start(folder)
    wait_for(folder / ".snakemake/clearice_micrographs.json", first)
    os.killpg(first.pid, signal.SIGSTOP)  # it takes very long
    said, _ = start(folder).communicate(timeout=300)
    os.killpg(first.pid, signal.SIGCONT)
    assert re.search(
        r"^another run works in this folder: process \d+ on \S+, since .*; nothing was done$",
        said,
        re.M,
    ), said
    assert "unlock" not in said
    assert "Traceback" not in said
    assert first.communicate(timeout=300)[0] == ""  # cron mails nothing
    assert first.returncode == 0
    assert "run finished; micrographs: 4 new; 4 used" in (folder / "weekly.log").read_text()
    assert [run["status"] for run in read_runs(folder / "results/runs")] == ["finished"]


def test_a_run_that_fails_mails_the_reason_and_the_next_goes_on(folder):
    for number in range(2):
        (folder / f"data/m{number}.mrc").write_text("<html>503</html>")
    said, _ = start(folder).communicate(timeout=300)
    assert "2 of 4 micrographs are rejected" in said
    assert "run failed (list_micrographs); micrographs: none new; 0 used" in said
    for number in range(2):
        os.remove(folder / f"data/m{number}.mrc")
    assert start(folder).communicate(timeout=300)[0] == ""
    runs = read_runs(folder / "results/runs")
    assert [run["status"] for run in runs] == ["failed", "finished"]
    assert runs[1]["micrographs"]["new"] == ["m2", "m3"]


def stop(folder, number):
    """Stop a run by a signal, when the first shards are there; return its record."""
    process = start(folder)
    wait_for(folder / "results/shards/m1.json", process)
    os.killpg(process.pid, number)
    process.communicate(timeout=300)
    (path,) = (folder / "results/runs").glob("*.json")
    return json.loads(path.read_text())


def test_an_interrupted_run_leaves_a_record(folder):
    record = stop(folder, signal.SIGINT)
    assert record["status"] == "interrupted"
    assert record["ended"] is not None
    assert record["jobs"]["failed"] == []


def test_a_killed_run_leaves_a_record_that_the_next_completes(folder):
    assert stop(folder, signal.SIGKILL)["status"] == "running"
    process = start(folder)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    runs = read_runs(folder / "results/runs")
    assert [run["status"] for run in runs] == ["killed", "finished"]
    assert runs[0]["micrographs"]["new"] == []
    assert runs[1]["micrographs"]["new"] == ["m0", "m1", "m2", "m3"]
