"""The signals that ask a process to end: SIGTERM, SIGINT, and SIGHUP of a terminal that is gone."""

import contextlib
import os
import signal
import stat
import sys
import threading
from pathlib import Path


def stopping_signals():
    """Return the signals to listen to: SIGHUP is left out where it is ignored (nohup)."""
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


@contextlib.contextmanager
def ends_orderly():
    """While entered, the first signal unwinds the block as SystemExit(128 + its number).

    Later ones change nothing, so that a second Ctrl-C can't break what the first one began:
    not even afterwards, for the process is about to end. Outside the main thread, where Python
    allows no handlers, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopped = []

    def stop(number, _frame):
        leave_terminal()
        if not stopped:
            stopped.append(number)
            sys.exit(128 + number)

    before = {number: signal.signal(number, stop) for number in stopping_signals()}
    try:
        yield
    except SystemExit as end:
        if isinstance(end.code, int) and end.code > 128:  # a training heard the signal itself
            stopped.append(end.code - 128)
        raise
    finally:
        if not stopped:
            for number, handler in before.items():
                signal.signal(number, handler)


def leave_terminal():
    """Let output go nowhere if its terminal is gone: a print must not cost a checkpoint."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            kind = os.fstat(descriptor).st_mode
            if stat.S_ISCHR(kind) and not os.isatty(descriptor):  # a closed one is none any more
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


def children(parent):
    """Return the process ids of the children of `parent`; none where there is no /proc."""
    return [pid for pid, its_parent in _parents().items() if its_parent == parent]


def descendants(pids):
    """Return the set of all that descends from processes, without those."""
    parents, found, new = _parents(), set(), set(pids)
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found - set(pids)


def _parents():
    """Return process id -> that of its parent, for all of this machine."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_bytes().rpartition(b") ")[2].split()  # the name may hold anything
            parents[int(path.parent.name)] = int(fields[1])
    return parents
