"""Work on many items in processes of their own, one item at a time each.

Not multiprocessing: its processes would run the script of the Snakemake job once more.
"""

import concurrent.futures
import contextlib
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

from clearice.workers import thread_variables

_LIBRARY = Path(__file__).resolve().parents[3]


def results_of(module, items, processes):
    """Yield (item, module.work(item)) as they are finished; `module` is run with `serve`.

    Items are taken from the iterator as processes become free. What `work` raises is a mistake of
    ours: RuntimeError, with its traceback. No process outlives this generator.
    """
    items, waiting = iter(items), {}
    with contextlib.ExitStack() as stack:
        threads = stack.enter_context(concurrent.futures.ThreadPoolExecutor(processes))

        def give(worker):
            for item in items:
                worker = worker or stack.enter_context(_Process(module))
                waiting[threads.submit(worker.work, item)] = worker, item
                return

        for _ in range(processes):
            give(None)
        while waiting:
            done, _ = concurrent.futures.wait(
                waiting, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                worker, item = waiting.pop(future)
                result = future.result()
                give(worker)
                yield item, result


class _Process:
    """The near end of one process. A context manager, which kills it."""

    def __init__(self, module):
        folders = [str(_LIBRARY), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module.__name__],
            env={**os.environ, **thread_variables(1), "PYTHONPATH": os.pathsep.join(folders)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
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

    def work(self, item):
        try:
            pickle.dump(item, self._process.stdin)
            self._process.stdin.flush()
            result, mistake = pickle.load(self._process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            status = self._process.wait()
            raise RuntimeError(f"a process that draws ended with status {status}") from None
        if mistake:
            raise RuntimeError(mistake)
        return result


def serve(work):
    """Be the far end: answer each item on standard input, until its end, which our parent's is."""
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
