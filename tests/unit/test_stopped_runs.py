"""Signals that ask a whole run to end."""

import threading

from snakemake.scheduling.job_scheduler import JobScheduler

from clearice.stopped_runs import let_sigterm_end_snakemake


def test_sigterm_does_not_wait_for_the_thread_that_it_interrupts(monkeypatch):
    monkeypatch.setattr(JobScheduler, "exit_gracefully", JobScheduler.exit_gracefully)
    let_sigterm_end_snakemake()
    let_sigterm_end_snakemake()  # once more for a workflow that uses this one
    scheduler = JobScheduler.__new__(JobScheduler)
    scheduler._lock, scheduler._user_kill = threading.Lock(), None
    scheduler._open_jobs = threading.Semaphore(0)
    with scheduler._lock:
        scheduler.exit_gracefully(15, None)
        assert not scheduler._open_jobs.acquire(timeout=0.1)
    assert scheduler._open_jobs.acquire(timeout=60)
    assert scheduler._user_kill == "graceful"
    assert not scheduler._open_jobs.acquire(timeout=0.1)
