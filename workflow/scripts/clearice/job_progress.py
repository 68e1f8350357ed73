"""How far a job is, in a small file beside its log, for whoever watches the run.

The job writes it about once a second; the terminal (snakemake_logger_plugin_clearice) reads it. On
a cluster it lies on the shared file system. It is a courtesy: that it cannot be written or read
harms nothing, and it disappears with its job.
"""

import contextlib
import json
import math
import os
import time
import typing
from pathlib import Path

_VARIABLE = "CLEARICE_PROGRESS"  # its path, for the processes that a job starts
_WRITE_EVERY_S = 1.0
_MOST_BYTES = 4096
_MOST_WORDS = 200


class JobProgress(typing.NamedTuple):
    """What a job says: the fraction done (0 to 1), seconds left (None: unknown), some words."""

    fraction: float
    left_s: float | None
    words: str


def progress_path(log):
    """Return the path of the progress file of the job that writes the log file `log`."""
    path = Path(log)
    return path.with_name(f".{path.stem}.progress")


@contextlib.contextmanager
def progress_beside(log):
    """While entered, ProgressFile writes beside `log`: in this process and those it starts."""
    path = progress_path(log)
    _remove(path)  # of a job that was killed
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = str(path.resolve())
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
        _remove(path)


class ProgressFile:
    """Writes how far the job is, at most once a second; does nothing outside a job.

    `total` and `done` count the same things, `done` at the beginning. Time left is that of the pace
    since then; evaluations and reading count, since they come again.
    """

    def __init__(self, total, done=0):
        self._path = os.environ.get(_VARIABLE)
        self._total, self._first = total, done
        self._started_s = self._written_s = time.monotonic()

    def is_due(self):
        """Say whether it is time to write again."""
        return self._path is not None and time.monotonic() - self._written_s >= _WRITE_EVERY_S

    def write(self, done, words=""):
        """Write that `done` of `total` are done; `words` say the rest."""
        self._written_s = now = time.monotonic()
        if self._path is None or self._total <= 0:
            return
        steps = done - self._first
        left_s = (self._total - done) * (now - self._started_s) / steps if steps > 0 else None
        content = {"fraction": done / self._total, "left_s": left_s, "words": words[:_MOST_WORDS]}
        part = f"{self._path}.part"
        with contextlib.suppress(OSError, ValueError):
            Path(part).write_text(json.dumps(content), encoding="utf-8")
            os.replace(part, self._path)  # not synced: a second later it is another


def read_progress(log):
    """Return the JobProgress of the job that writes `log`; None if it says nothing sensible."""
    try:
        with open(progress_path(log), "rb") as file:
            content = json.loads(file.read(_MOST_BYTES))
        fraction, left_s = float(content["fraction"]), content["left_s"]
        left_s = None if left_s is None else float(left_s)
        words = str(content["words"])[:_MOST_WORDS]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not 0 <= fraction <= 1 or not (left_s is None or 0 <= left_s < math.inf):
        return None
    return JobProgress(fraction, left_s, words)


def _remove(path):
    for leftover in (path, path.with_name(f"{path.name}.part")):
        with contextlib.suppress(OSError):
            leftover.unlink()
