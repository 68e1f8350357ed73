"""Processes that do one job after the other: real ones, with a script that says what it was."""

import os
import pickle
import signal
import threading
import time

import pytest

import clearice.workers
from clearice.workers import Workers, thread_variables

SCRIPT = """
import os, sys, time
with open(snakemake["output"], "a") as file:
    print(os.getpid(), file=file)
print("said by the job")
if "sleep_s" in snakemake:
    time.sleep(snakemake["sleep_s"])
if "error" in snakemake:
    raise ValueError("a mistake")
if "status" in snakemake:
    sys.exit(snakemake["status"])
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def do(script, tmp_path):
    """A function: do one job of the script with these Workers; return (status, process id)."""

    def do(workers, environment=None, **job):
        job["output"] = str(tmp_path / f"job{time.monotonic_ns()}")
        environment = dict(os.environ) if environment is None else environment
        status = workers.run(script, pickle.dumps(job), environment)
        return status, int(open(job["output"]).read())

    return do


def test_as_many_jobs_as_it_may_are_done_by_one_process(do):
    workers = Workers(3)
    done = [do(workers) for _ in range(7)]
    workers.close()
    assert {status for status, _ in done} == {0}
    pids = [pid for _, pid in done]
    assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4] == pids[5] != pids[6]
    assert not any(map(is_alive, pids))


def is_alive(pid):
    return os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize(("job", "status"), [({"status": 1}, 1), ({"error": 1}, 1)])
def test_a_job_that_fails_has_its_status_and_the_next_a_new_process(do, capfd, job, status):
    workers = Workers(5)
    assert do(workers)[0] == 0
    failed, pid = do(workers, **job)
    assert failed == status
    assert not is_alive(pid)
    assert do(workers)[0] == 0
    workers.close()
    said = capfd.readouterr()
    assert said.out == 3 * "said by the job\n"
    assert ("ValueError: a mistake" in said.err) == ("error" in job)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, -15)])
def test_a_process_that_is_killed_fails_its_job_alone(do, number, status):
    workers = Workers(5)
    pid = do(workers)[1]
    threading.Timer(0.3, os.kill, (pid, number)).start()
    assert do(workers, sleep_s=60) == (status, pid)
    assert do(workers)[0] == 0
    workers.close()


def test_a_signal_between_two_jobs_fails_neither(do):
    """Ctrl-C reaches all processes of the terminal; Snakemake decides what that means."""
    workers = Workers(5)
    pid = do(workers)[1]
    os.kill(pid, signal.SIGINT)
    assert do(workers) == (0, pid)
    os.kill(pid, signal.SIGKILL)  # out of memory, between two jobs
    time.sleep(0.2)
    status, other = do(workers)
    assert (status, other != pid) == (0, True)
    workers.close()


def test_other_variables_need_another_process(do):
    workers = Workers(5)
    one, two = ({**os.environ, **thread_variables(n)} for n in (1, 2))
    assert do(workers, one)[1] == do(workers, one)[1] != do(workers, two)[1]
    workers.close()


def test_no_more_processes_at_once_than_there_may_be(do):
    workers, done = Workers(9, at_once=1), []
    threads = [threading.Thread(target=lambda: done.append(do(workers))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    workers.close()
    assert len(done) == 5
    assert len(set(done)) == 1


def test_a_process_without_a_job_ends_and_frees_its_memory(do, monkeypatch):
    monkeypatch.setattr(clearice.workers, "_IDLE_S", 0.2)
    workers = Workers(9)
    _, pid = do(workers)
    assert is_alive(pid)
    deadline = time.monotonic() + 20
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert do(workers)[1] != pid
    workers.close()
