"""The bridge: keywords in, one line out."""

import errno
import os
import shlex
import subprocess
import sys
from types import SimpleNamespace

import pytest

from clearice.bridge import job_arguments, run_command, run_job
from clearice.errors import InputError
from conftest import REPOSITORY

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow" / "scripts")}


def job(tmp_path, **params):
    return SimpleNamespace(
        rule="cut",
        input={"micrograph": "a.mrc", "code": ["x.py"]},
        output={"shard": "a.bin"},
        params=params,
        log=[str(tmp_path / "job.log")],
    )


def test_named_values_become_keywords_and_code_is_left_out(tmp_path):
    arguments = job_arguments(job(tmp_path, settings={"a": 1}, size_px=64))
    assert arguments == {
        "micrograph": "a.mrc",
        "shard": "a.bin",
        "settings": {"a": 1},
        "size_px": 64,
    }


def test_a_user_mistake_is_one_line_in_the_log_and_on_the_terminal(tmp_path, capfd):
    def cut(**_):
        print("working")
        raise InputError("truncated", file="a.mrc", expected="10 bytes", found="3 bytes")

    with pytest.raises(SystemExit) as caught:
        run_job(cut, job(tmp_path))
    assert caught.value.code == 1
    line = "a.mrc: truncated: expected 10 bytes, found 3 bytes"
    assert (tmp_path / "job.log").read_text() == f"working\nerror: {line}\n"
    assert capfd.readouterr().err == f"cut: {line}\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_too(tmp_path, capfd, number):
    def write(**_):
        raise OSError(number, os.strerror(number))

    line = f"{os.strerror(number)}; make room and run again"
    with pytest.raises(SystemExit) as caught:
        run_job(write, job(tmp_path))
    assert caught.value.code == 1
    assert capfd.readouterr().err == f"cut: {line}\n"
    with pytest.raises(SystemExit) as caught:
        run_command(write)
    assert caught.value.code == f"error: {line}"


def test_our_own_mistake_keeps_its_traceback_in_the_log(tmp_path, capfd):
    def cut(**_):
        raise ValueError("too\nmany")

    with pytest.raises(SystemExit) as caught:
        run_job(cut, job(tmp_path))
    assert caught.value.code == 1
    assert capfd.readouterr().err == "cut: ValueError: too many (the log has the traceback)\n"
    said = (tmp_path / "job.log").read_text()
    assert "Traceback" in said
    assert "ValueError: too" in said


def test_a_command_exits_with_the_status_of_main():
    with pytest.raises(SystemExit) as caught:
        run_command(lambda: 2)
    assert caught.value.code == 2


def test_a_command_turns_a_user_mistake_into_one_line():
    def main():
        raise InputError("no such file", file="x.mrc")

    with pytest.raises(SystemExit) as caught:
        run_command(main)
    assert caught.value.code == "error: x.mrc: no such file"


def test_a_reader_that_has_read_enough_is_no_error():
    code = (
        "from clearice.bridge import run_command\n"
        "run_command(lambda: [print('x' * 80) for _ in range(10000)] and 0)"
    )
    words = f"{sys.executable} -c {shlex.quote(code)} | head -1"
    done = subprocess.run(words, shell=True, capture_output=True, text=True, env=ENVIRONMENT)
    assert (done.stdout, done.stderr) == ("x" * 80 + "\n", "")
