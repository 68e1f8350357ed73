"""Errors that a user can act on: what, which file, expected, found, what to do."""

import re

_BREAKS = re.compile(r"\s*[\t-\r\x1c-\x1e\x85\u2028\u2029]\s*")


class InputError(Exception):
    """A mistake in what the user gave us; its text is one line, never a traceback.

    `what` says what is wrong. `file` is the file it is wrong in; `expected` and `found` are
    values or short phrases; `advice` says what to do about it.
    """

    def __init__(self, what, *, file=None, expected=None, found=None, advice=None):
        self.what, self.file = what, file
        self.expected, self.found, self.advice = expected, found, advice
        super().__init__(self._one_line())

    def _one_line(self):
        text = f"{self.file}: {self.what}" if self.file is not None else self.what
        facts = [
            f"{label} {value}"
            for label, value in (("expected", self.expected), ("found", self.found))
            if value is not None
        ]
        if facts:
            text += ": " + ", ".join(facts)
        if self.advice is not None:
            text += f"; {self.advice}"
        return one_line(text)


class UnfinishedError(InputError):
    """A file that looks as one does whose writer has not finished: short, or blank at its end."""


def one_line(text):
    """Return `text` on one line that any terminal and any log can hold, blanks as they are.

    What cannot be seen (a no-break blank, a control character, a byte that is no UTF-8) is
    written as in Python.
    """
    text = _BREAKS.sub(" ", text).strip()
    return "".join(letter if letter.isprintable() else _visible(letter) for letter in text)


def _visible(letter):
    if 0xDC80 <= ord(letter) <= 0xDCFF:  # how Python reads such a byte of a file name
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()
