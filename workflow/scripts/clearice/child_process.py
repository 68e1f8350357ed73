"""A process of ours that works on one item after the other.

Not multiprocessing: its processes would run the script of the Snakemake job once more.
"""

import contextlib
import os
import pickle
import select
import signal
import subprocess
import sys
import traceback
from pathlib import Path

from clearice.workers import thread_variables

_LIBRARY = Path(__file__).resolve().parents[1]
_POLL_S = 0.2  # between two looks at whether an answer is still wanted


class FarMistake(Exception):
    """A mistake of ours in the process: its text is the traceback there."""


class ChildEnded(Exception):
    """The process is gone: `status` is its exit status, negative for a signal."""

    def __init__(self, status):
        super().__init__(f"a process of ours ended with status {status}")
        self.status = status


class ChildProcess:
    """The near end of a process that runs `module`, which calls `serve`.

    It has one thread for NumPy, and the descriptors `shared` of this process. A context manager,
    which kills it.
    """

    def __init__(self, module, shared=()):
        folders = [str(_LIBRARY), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            env={**os.environ, **thread_variables(1), "PYTHONPATH": os.pathsep.join(folders)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=shared,
            # Ctrl-C of a terminal reaches it once, through us.
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()

    def work(self, item, watch=None):
        """Return the work of the far end on `item`, any two objects that can be pickled.

        `watch`, if given, is called while it works and may raise; the process is of no use then.
        Raises FarMistake for what the far end raised, ChildEnded where the process is gone.
        """
        gone = OSError, EOFError, pickle.UnpicklingError
        try:
            pickle.dump(item, self._process.stdin)
            self._process.stdin.flush()
        except gone:
            raise ChildEnded(self._process.wait()) from None
        while watch is not None and not self._has_answered():
            watch()
        try:
            result, mistake = pickle.load(self._process.stdout)
        except gone:
            raise ChildEnded(self._process.wait()) from None
        if mistake:
            raise FarMistake(mistake)
        return result

    def _has_answered(self):
        """Say whether there is an answer, or an end, after waiting for it a little."""
        waiting = select.poll()  # select itself ends at descriptor 1023
        waiting.register(self._process.stdout, select.POLLIN)
        return bool(waiting.poll(1000 * _POLL_S))


def serve(work):
    """Be the far end: answer each item on standard input, until its end, which our parent's is.

    A signal for all processes of a job is the parent's to act on.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    items, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints, prints no result
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            item = pickle.load(items)
            try:
                answer = work(item), None
            except Exception:
                answer = None, traceback.format_exc()
            pickle.dump(answer, results)
            results.flush()
