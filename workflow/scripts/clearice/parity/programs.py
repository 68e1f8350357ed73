"""Running a program that is not ours: for a limited time, with a limited log, and to its end."""

import codecs
import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import time
import typing

from clearice.stopping import children, descendants

STOP_S = 10  # for a program that is stopped to end by itself
LOG_BYTES = 10 << 20
LINE_CHARACTERS = 1000
_BLOCK_BYTES = 1 << 16
_BLOCKS_AFTER_END = 64  # a pipe holds 16; what an escaped child goes on writing has no end
_POLL_S = 0.05
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37  # Linux, prctl.h


class Ended(typing.NamedTuple):
    """How a program ended: exit status, last line of its standard error, and if we stopped it."""

    status: int
    last_line: str
    timed_out: bool


def run_program(words, timeout_s, environment=None):
    """Run a program and return how it Ended; what it prints goes to our standard output.

    `environment`: variables that it gets besides ours.

    A program that does not exist has status 127. Whatever it started ends with it, in whatever
    session (on Linux; elsewhere in its own), and so it does when this process is stopped.
    """
    before, process = set(children(os.getpid())), None
    with _adopting_orphans():
        try:  # a signal may come while it is being started
            process = _start(words, environment or {})
            log = _Log(LOG_BYTES)
            said = [_Stream(pipe, log) for pipe in (process.stdout, process.stderr)]
            timed_out = _follow(process, said, time.monotonic() + timeout_s)
        except _CannotStart as error:
            return Ended(127, str(error), False)
        finally:
            _end_all(process, before)
        with process.stdout, process.stderr:
            return Ended(process.returncode, said[1].last_line(), timed_out)


class _CannotStart(Exception):
    """The program does not exist, or may not be run."""


def _start(words, environment):
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,
        )
    except OSError as error:
        raise _CannotStart(f"cannot start {words[0]}: {error.strerror}") from None


class _Log:
    """Our standard output, for so many bytes."""

    def __init__(self, n_bytes):
        self._left = n_bytes

    def write(self, text, n_bytes):
        if self._left <= 0:
            return
        if n_bytes > self._left:
            text = f"{text[: self._left]}\n... cut: it printed more than {LOG_BYTES >> 20} MiB\n"
        self._left -= n_bytes
        print(text, end="", flush=True)


class _Stream:
    """One pipe of a program: passed on to the log, its last line remembered."""

    def __init__(self, pipe, log):
        self.descriptor, self._log = pipe.fileno(), log
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._last, self._unfinished = "", ""
        os.set_blocking(self.descriptor, False)

    def read(self):
        """Take what is there; return False at the end."""
        try:
            block = os.read(self.descriptor, _BLOCK_BYTES)
        except BlockingIOError:
            return True
        text = self._decoder.decode(block, final=not block)
        self._log.write(text, len(block))
        *lines, rest = (self._unfinished + text).split("\n")
        for line in lines:
            self._last = line.strip()[:LINE_CHARACTERS] or self._last
        self._unfinished = rest[: 2 * LINE_CHARACTERS]  # a line may have no end
        return bool(block)

    def last_line(self):
        """Return the last line that is not empty."""
        return self._unfinished.strip()[:LINE_CHARACTERS] or self._last


def _follow(process, streams, until_s):
    """Read what a program prints until it ends, or until then; return True if it did not end."""
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream.descriptor, selectors.EVENT_READ, stream)
        while process.poll() is None:
            if time.monotonic() > until_s:
                return True
            _read_ready(selector, _POLL_S)
        for _ in range(_BLOCKS_AFTER_END):
            if not _read_ready(selector, 0):
                break
    return False


def _read_ready(selector, wait_s):
    """Read one block of every pipe that has one; return whether any had."""
    ready = selector.select(wait_s)
    for key, _ in ready:
        if not key.data.read():
            selector.unregister(key.fd)
    return bool(ready)


@contextlib.contextmanager
def _adopting_orphans():
    """Let orphans of our children become ours, so that they are found (Linux)."""
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        yield
        return
    before = ctypes.c_int()
    prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, before.value, 0, 0, 0)


def _end_all(process, before):
    """End a program and all that it started: SIGTERM, and what ignores it SIGKILL.

    `before` are our children that are none of its. Without /proc its own session is all that is
    found, so its group is told as well.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
        until_s, told = time.monotonic() + STOP_S, set()
        while (living := _living(process, before)) and time.monotonic() < until_s:
            for pid in living - told if number == signal.SIGTERM else living:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            told |= living
            time.sleep(_POLL_S)
        if not living:
            break


def _living(process, before):
    """Return the process ids of a program and of all that it started; dead ones are buried."""
    own = None if process is None else process.pid
    living = set() if process is None or process.poll() is not None else {own}
    for pid in set(children(os.getpid())) - before - {own}:
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                living.add(pid)
    return living | descendants(living)
