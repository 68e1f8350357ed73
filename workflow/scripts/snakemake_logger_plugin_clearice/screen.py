"""Lines that stay, and on a terminal a block below them that is drawn anew.

The cursor rests on an empty line above the block, not below it. So what a job prints by itself (it
shares our terminal) lands on that line and pushes nothing away: the next drawing puts the block
under it. Nothing is hidden or switched, so a run that is killed leaves a terminal that works.
"""

import contextlib
import os
import sys
import threading

_ERASE_BELOW = "\x1b[J"
_CODES = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
_WIDEST = 100
_NARROWEST = 20


class Screen:
    """Writes to one text stream; safe to call from threads.

    `live`: a block can be drawn (a terminal that moves its cursor). `colour`: words in colour.
    """

    def __init__(self, stream, *, colour=True):
        self._stream, self._lock, self._block = stream, threading.RLock(), []
        self._replaced = []
        self.live = _is_terminal(stream) and os.environ.get("TERM", "dumb") != "dumb"
        self._colour = self.live and colour and not os.environ.get("NO_COLOR")
        self.unicode = "utf" in (getattr(stream, "encoding", None) or "").lower()

    def style(self, text, *names):
        """Return `text` in colours, plain where there are none."""
        if not self._colour or not text:
            return text
        return f"\x1b[{';'.join(_CODES[name] for name in names)}m{text}\x1b[0m"

    @property
    def size(self):
        """Columns to use (never the last one, where a terminal may wrap) and rows there are."""
        try:
            columns, rows = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError, AttributeError):
            columns, rows = 80, 24
        return max(_NARROWEST, min(_WIDEST, columns or 80) - 1), rows or 24

    def print(self, text):
        """Write lines that stay, above the block."""
        with self._lock:
            erase = _ERASE_BELOW if self._block else ""
            self._write(f"{erase}{text}\n{self._drawn()}")

    def draw(self, lines):
        """Replace the block by `lines`, each at most `size` columns wide; none takes it away."""
        with self._lock:
            if not self.live or not (lines or self._block):
                return
            if lines and not self._block:
                self._stand_before_prints()
            self._block = lines[: max(1, self.size[1] - 2)]
            self._write(_ERASE_BELOW + self._drawn())
            if not lines:
                self._let_prints_through()

    def _drawn(self):
        if not self._block:
            return ""
        return "\n" + "\n".join(self._block) + f"\x1b[{len(self._block)}A\r"

    def _write(self, text):
        with contextlib.suppress(OSError, ValueError):  # its reader or its terminal is gone
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()

    def _stand_before_prints(self):
        """Let what this process prints by itself appear above the block."""
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if _is_terminal(stream):
                above = _Above(stream, self)
                setattr(sys, name, above)
                self._replaced.append((name, above))

    def _let_prints_through(self):
        for name, above in self._replaced:
            if getattr(sys, name) is above:
                setattr(sys, name, above.stream)
            above.end()
        self._replaced.clear()


class _Above:
    """A stream of this process whose whole lines are printed above the block of a Screen."""

    def __init__(self, stream, screen):
        self.stream, self._screen, self._begun = stream, screen, ""

    def write(self, text):
        """Print the lines that are whole; keep the rest."""
        *lines, self._begun = f"{self._begun}{text}".split("\n")
        if lines:
            self._screen.print("\n".join(lines))
        return len(text)

    def end(self):
        """Print what was begun."""
        if self._begun:
            self.stream.write(self._begun)
            self._begun = ""

    def __getattr__(self, name):
        return getattr(self.stream, name)


def _is_terminal(stream):
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return stream.isatty()
    return False
