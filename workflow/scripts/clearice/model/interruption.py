"""SIGTERM, SIGINT and SIGHUP as a flag, so that a training ends between two steps."""

import signal
import threading

from clearice.stopping import leave_terminal, stopping_signals


class Interrupted(Exception):
    """A signal ended a wait for data: a training ends where it is, without that batch."""


class Interruption:
    """While entered, the first signal that asks to end sets `signal`; later ones change nothing.

    Ctrl-C reaches a job twice (from the terminal and from Snakemake), and the second must not
    cost the checkpoint that the first asked for. Outside the main thread, where Python allows
    no handlers, this does nothing.
    """

    def __init__(self):
        self.signal = None
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in stopping_signals():
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def has_signal(self):
        """Say whether a signal asked to end."""
        return self.signal is not None

    def _note(self, number, _frame):
        leave_terminal()
        self.signal = self.signal or number
