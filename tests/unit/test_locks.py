"""A lock that dies with its process, and the words about who holds it."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from clearice.errors import InputError
from clearice.locks import boot_id, holder_in, is_here, only_process

HOLDER = """
import sys, time
from clearice.locks import only_process
with only_process(sys.argv[1], "training"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds tmp_path/a.lock."""
    command = [sys.executable, "-c", HOLDER, tmp_path / "a.lock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("clearice.locks.PATIENCE_S", 0.2)


def test_a_second_process_is_told_who_is_there_and_what_to_type(tmp_path, holder):
    with pytest.raises(InputError) as refused, only_process(tmp_path / "a.lock", "training"):
        pass
    line = str(refused.value)
    assert line.startswith(f"{tmp_path}: another process is training: found process {holder.pid} ")
    assert f" on {socket.gethostname()}, since 2" in line
    assert line.endswith(f"wait for it, or end it (kill {holder.pid}) and run again")


def test_a_job_of_a_cluster_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    lock = tmp_path / "a.lock"
    refused = pytest.raises(InputError, match=r"\(scancel 4711\)")
    with only_process(lock, "x"), refused, only_process(lock, "x"):
        pass


def test_the_lock_dies_with_its_process(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with only_process(tmp_path / "a.lock", "training"):
        assert json.loads((tmp_path / "a.lock").read_text())["pid"] == os.getpid()


def test_a_process_that_is_ending_is_waited_for(tmp_path, holder, monkeypatch):
    monkeypatch.setattr("clearice.locks.PATIENCE_S", 60)
    ending = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -9 {holder.pid}"])
    with only_process(tmp_path / "a.lock", "training"):
        pass
    assert ending.wait() == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "1", "host": 2}', "\0" * 9])
def test_a_record_that_cannot_be_read_is_of_nobody(tmp_path, text):
    assert holder_in(text) == {}
    assert not is_here(holder_in(text))


def test_where_a_holder_ran():
    here = {"pid": 1, "host": socket.gethostname(), "since": "", "boot": "of last week"}
    container = {"pid": 1, "host": "0123abcd", "since": "", "boot": boot_id()}
    assert is_here(here)
    assert is_here(container)
    assert not is_here({**container, "boot": "of another"})
    assert not is_here({**container, "boot": ""})
