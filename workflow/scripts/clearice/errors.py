"""Errors that a user can act on: what, which file, expected, found, what to do."""


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
        return " ".join(text.split())
