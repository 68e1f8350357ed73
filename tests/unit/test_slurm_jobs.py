"""What is known of a run's jobs where Slurm does not answer; tests/cluster asks a real one."""

import subprocess
import sys

import pytest

from clearice.command.cancel import main
from clearice.errors import InputError
from clearice.locks import holder_in
from clearice.runs import is_alive
from clearice.slurm_jobs import jobs_in_queue, remember_run, require_no_jobs

RUN_ID = "0a1b2c3d-0000-4000-8000-000000000000"


@pytest.fixture
def no_slurm(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_folder_whose_runs_knew_no_slurm_asks_none(tmp_path, no_slurm, capsys):
    assert jobs_in_queue(tmp_path) == {}
    require_no_jobs(tmp_path)
    assert main(["--directory", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: no jobs of a run in Slurm's queue\n"


def test_where_slurm_does_not_answer_its_jobs_may_live(tmp_path, no_slurm):
    remember_run(tmp_path, RUN_ID)
    with pytest.raises(InputError) as caught:
        require_no_jobs(tmp_path)
    assert "found no squeue on this machine" in str(caught.value)
    assert "start it where squeue works; remove that folder if those jobs are gone" in str(
        caught.value
    )
    assert (caught.value.file / RUN_ID).exists()


def test_a_squeue_that_fails_is_no_empty_queue(tmp_path, monkeypatch):
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact it' >&2; exit 1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    remember_run(tmp_path / "run", RUN_ID)
    with pytest.raises(InputError, match="found slurm_load_jobs error: Unable to contact it"):
        require_no_jobs(tmp_path / "run")


def test_a_run_lives_as_long_as_it_holds_its_record(tmp_path):
    program = "import sys, time; from clearice.runs import take_over\n"
    program += "take_over(sys.argv[1]); print('started', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", program, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout.readline() == "started\n"
            (record,) = (tmp_path / "clearice_runs").glob("*.json")
            holder = holder_in(record.read_text())
            assert is_alive(tmp_path, holder)
            assert not is_alive(tmp_path, holder | {"pid": run.pid + 1})
            assert not is_alive(tmp_path, holder | {"host": "elsewhere"})
        finally:
            run.kill()
    assert not is_alive(tmp_path, holder)
    assert not is_alive(tmp_path, {})
