"""Processes that do one job after the other, so that what a script imports is imported once.

A job of Snakemake starts Python, NumPy and PyTorch and loads the network anew, which may take
longer than its work on one micrograph. Here its script runs in a process that has done such a job
before: a child of Snakemake, as that of any script, with the same signals, logs and benchmarks.
"""

import atexit
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback

_IDLE_S = 10  # then a process without a job ends: the next step needs its memory
_MISTAKE = 1
_SIGNALLED = 128  # exit statuses from here on are those of signals


def thread_variables(threads):
    """Return the environment variables by which Snakemake tells a job's libraries its threads."""
    libraries = ("OMP", "GOTO", "OPENBLAS", "MKL", "NUMEXPR")
    names = [f"{library}_NUM_THREADS" for library in libraries]
    return dict.fromkeys([*names, "VECLIB_MAXIMUM_THREADS"], str(threads))


class Workers:
    """Processes for the jobs of one Snakemake: `jobs_each` a process, `at_once` processes at most.

    A process does the jobs of one script only. `turn` is the context in which a job is done.
    """

    def __init__(self, jobs_each, at_once=None):
        self._jobs_each, self._idle, self._lock = jobs_each, [], threading.Lock()
        self.turn = threading.Semaphore(at_once) if at_once else contextlib.nullcontext()
        atexit.register(self.close)

    def run(self, script, job, environment, measured=lambda pid: contextlib.nullcontext()):
        """Run the file `script` with `job`, pickled, as its `snakemake`; return its exit status.

        `environment` holds all variables of the process. `measured(pid)` is a context in which the
        job is done.
        """
        with self.turn:
            worker = self._taken(str(script), environment)
            with measured(worker.pid):
                status = worker.run(job)
            if worker.has_ended or worker.jobs_done >= self._jobs_each:
                worker.close()
            else:
                self._give_back(worker)
            return status

    def _taken(self, script, environment):
        with self._lock:
            same = [worker for worker in self._idle if worker.key == (script, environment)]
            for worker in same:
                self._idle.remove(worker)
                if worker.is_alive():
                    return worker
        return _Worker(script, environment)

    def _give_back(self, worker):
        with self._lock:
            self._idle.append(worker)
        number = worker.jobs_done
        timer = threading.Timer(_IDLE_S, lambda: self._end_if_idle(worker, number))
        timer.daemon = True
        timer.start()

    def _end_if_idle(self, worker, jobs_done):
        with self._lock:
            if worker not in self._idle or worker.jobs_done != jobs_done:
                return
            self._idle.remove(worker)
        worker.close()

    def close(self):
        """End all processes that have no job."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()


class _Worker:
    """The near end of one process."""

    def __init__(self, script, environment):
        self.key, self.jobs_done, self.has_ended = (script, environment), 0, False
        replies, far_end = os.pipe()
        self._replies = open(replies, "rb")  # noqa: SIM115 (closed with the process)
        try:
            self._process = subprocess.Popen(
                [sys.executable, __file__, script, str(far_end)],
                stdin=subprocess.PIPE,
                env=environment,
                pass_fds=(far_end,),
            )
        finally:
            os.close(far_end)
        self.pid = self._process.pid

    def run(self, job):
        """Return the exit status of one job."""
        self.jobs_done += 1
        try:
            self._process.stdin.write(job)
            self._process.stdin.flush()
            status = pickle.load(self._replies)
            self.has_ended = status >= _SIGNALLED or status == _MISTAKE
        except (EOFError, OSError, pickle.UnpicklingError):  # killed, or out of memory
            self.has_ended = True
            status = self._process.wait()
        return status

    def is_alive(self):
        """Return whether it waits for a job: it may have been killed meanwhile."""
        return self._process.poll() is None

    def close(self):
        """Let the process end, and wait for it."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._replies.close()
        self._process.wait()


def _serve(script, replies):
    """Run the file `script` with every job that comes, until there is none."""
    jobs = os.fdopen(os.dup(0), "rb")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    with open(script, "rb") as file:
        code = compile(file.read(), script, "exec")
    while True:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # between jobs Snakemake decides
        try:
            job = pickle.load(jobs)
        except EOFError:
            return 0
        status = _run(code, script, job)
        pickle.dump(status, replies)
        replies.flush()
        if status:
            return status


def _run(code, script, job):
    try:
        exec(code, {"__name__": "__main__", "__file__": script, "snakemake": job})
    except SystemExit as stop:
        if isinstance(stop.code, int | None):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return _MISTAKE
    except BaseException:
        traceback.print_exc()
        return _MISTAKE
    return 0


if __name__ == "__main__":
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[1]))
    with os.fdopen(int(sys.argv[2]), "wb") as far_end:
        sys.exit(_serve(sys.argv[1], far_end))
