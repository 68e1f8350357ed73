"""Which locks of Snakemake a new run may remove."""

import json
import os
import signal
import subprocess
import sys

import pytest

from clearice.runs import FOLDER

RUN = """
import sys, time
from clearice.runs import take_over
print(take_over(sys.argv[1]), flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path):
    """Snakemake's folder with a lock in it."""
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "0.output.lock").write_text("results/a\n")
    return tmp_path


@pytest.fixture
def start(folder):
    """A function that starts a run and returns (process, what it said)."""
    runs = []

    def started():
        command = [sys.executable, "-c", RUN, folder]
        runs.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return runs[-1], runs[-1].stdout.readline().strip()

    yield started
    for run in runs:
        run.kill()
        run.wait()
        run.stdout.close()


def locked(folder):
    return (folder / "locks").exists()


def records(folder):
    return sorted((folder / FOLDER).glob("*.json"))


def test_locks_of_a_killed_run_go(folder, start):
    killed, _ = start()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    _, said = start()
    assert said.startswith(f"taking over from a run that was killed: process {killed.pid} on ")
    assert not locked(folder)
    assert len(records(folder)) == 1


def test_locks_stay_while_a_run_lives(folder, start):
    killed, _ = start()
    start()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    _, said = start()
    assert said == "None"
    assert locked(folder)


def test_a_run_that_ends_leaves_no_record(folder, start):
    program = RUN.replace("time.sleep(60)", "")
    subprocess.run([sys.executable, "-c", program, folder], check=True, stdout=subprocess.DEVNULL)
    assert records(folder) == []


def test_locks_without_a_record_stay_and_the_way_out_is_named(folder, start):
    _, said = start()
    assert said.endswith("if Snakemake refuses to start and that run is gone: snakemake --unlock")
    assert locked(folder)


@pytest.mark.parametrize("text", ["", '{"pid": 7, "host": "elsewhere", "since": "now"}'])
def test_a_run_on_another_host_may_live(folder, start, text):
    (folder / FOLDER).mkdir()
    (folder / FOLDER / "elsewhere.7.json").write_text(text)
    _, said = start()
    assert said.endswith("snakemake --unlock")
    assert ("process 7 on elsewhere, since now" in said) == bool(text)
    assert locked(folder)
    assert len(records(folder)) == 2


def test_the_user_says_that_the_other_is_gone(folder):
    (folder / FOLDER).mkdir()
    (folder / FOLDER / "elsewhere.7.json").write_text(json.dumps({"pid": 7}))
    program = "import sys; from clearice.runs import take_over\n"
    program += "print(take_over(sys.argv[1], unlock=True))"
    command = [sys.executable, "-c", program, folder]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "None\n"
    assert records(folder) == []


def test_nothing_is_said_where_nothing_is_locked(tmp_path, start):
    killed, _ = start()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    for lock in (tmp_path / "locks").iterdir():
        os.unlink(lock)
    assert start()[1] == "None"
