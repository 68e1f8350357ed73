"""The signals that ask a whole run of Snakemake to end; for Snakemake's own process."""

import _thread
import contextlib
import os
import signal
import sys
import threading

from clearice.stopping import children, leave_terminal


def stop_whole_run():
    """Let Ctrl-C and SIGHUP end this Snakemake and its jobs orderly; for its main process.

    Snakemake itself dies at once of SIGHUP, and breaks off of a second Ctrl-C. Its jobs get
    SIGTERM: a closed terminal reaches them, too, but not every SIGHUP comes from one.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    stopped = []

    def stop(number, _frame):
        leave_terminal()
        if stopped:
            with contextlib.suppress(OSError):
                print("stopping already: the jobs write what they continue from", file=sys.stderr)
            return
        stopped.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        for child in children(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, stop)


def let_sigterm_end_snakemake():
    """Let SIGTERM end this Snakemake wherever it reaches it; before Snakemake plans its jobs.

    Its handler takes a lock that the main thread, which it interrupts, may hold: then both wait
    for ever (seen with 9.27, when a job ended at that moment). Here a thread does its work.
    """
    from snakemake.scheduling.job_scheduler import JobScheduler  # in Snakemake, and in no job

    handler = JobScheduler.exit_gracefully
    if handler.__module__ == __name__:  # a module of the workflow has done it
        return

    def exit_gracefully(scheduler, *arguments):
        # threading.Thread takes a lock to start, which may be the main thread's, too.
        _thread.start_new_thread(handler, (scheduler, *arguments))

    JobScheduler.exit_gracefully = exit_gracefully
