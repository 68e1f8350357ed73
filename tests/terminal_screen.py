"""What a person sees: a terminal of so many columns in memory, for commands and for streams."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pyte


class Terminal:
    """A pseudo-terminal whose screen can be read; a context manager.

    `stream` is a text stream that a process may write to, as to its standard error.
    """

    def __init__(self, columns=80, rows=24):
        self._master, self.slave = pty.openpty()
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, size)
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000)
        self._bytes = pyte.ByteStream(self.screen)
        self.stream = os.fdopen(os.dup(self.slave), "w", encoding="utf-8")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        os.close(self.slave)
        os.close(self._master)

    def read(self, seconds=0.0):
        """Take in what was written, and wait `seconds` for more; return whether anything came."""
        came = False
        while select.select([self._master], [], [], seconds)[0]:
            self._bytes.feed(os.read(self._master, 1 << 16))
            came, seconds = True, 0.0
        return came

    def type(self, keys):
        """Let a person type."""
        os.write(self._master, keys)

    @property
    def lines(self):
        """All that is to be seen, with what scrolled away; without empty lines at the end."""
        width = self.screen.columns
        above = ["".join(row[x].data for x in range(width)) for row in self.screen.history.top]
        found = [line.rstrip() for line in [*above, *self.screen.display]]
        while found and not found[-1]:
            found.pop()
        return found


def _sit_at_terminal():
    """Make standard input the terminal of this new session, whose Ctrl-C is heard."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it


def run_on_terminal(command, watch=lambda terminal: None, columns=80, timeout_s=300, **keywords):
    """Run a command on a Terminal, calling `watch` as it is written to.

    Return its exit status and the Terminal's lines. Other keywords are those of Popen.
    """
    with Terminal(columns) as terminal:
        process = subprocess.Popen(
            command,
            stdin=terminal.slave,
            stdout=terminal.slave,
            stderr=terminal.slave,
            start_new_session=True,
            preexec_fn=_sit_at_terminal,
            **keywords,
        )
        end = time.monotonic() + timeout_s
        try:
            while process.poll() is None and time.monotonic() < end:
                if terminal.read(0.2):
                    watch(terminal)
        finally:
            if process.poll() is None:
                process.kill()
        terminal.read(0.2)
        return process.wait(), terminal.lines
