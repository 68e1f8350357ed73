"""What an implementation wrote, read without trusting it."""

import math
import os
from pathlib import Path

import numpy as np

from clearice.parity.result_json import one_line, open_own, read_outcome, read_own_text
from clearice.reference.names import LOSS, RESULT, TRAINING_LOSS
from clearice.reference.tolerances import PRECISIONS

TABLE_BYTES = 16 << 20  # a hundred thousand rows and more


class Results:
    """The output folder of an implementation; every reader returns (value, None) or (None, fault).

    A fault is one sentence: what is wrong with which file. `record` is result.json, or an empty
    dict, and `fault` says why. `precision` is the class asked for, else the one that result.json
    declares, else float32.
    """

    def __init__(self, folder, precision=None):
        self.folder = Path(folder)
        self.record, self.fault = read_outcome(self.folder / RESULT)
        self.precision = precision or self.record.get("precision") or PRECISIONS[0]
        if self.precision not in PRECISIONS:
            found, self.precision = one_line(self.precision), PRECISIONS[0]
            expected = " | ".join(PRECISIONS)
            self.fault = f"unknown precision class: expected {expected}, found {found[:40]}"
        self.dtype = np.dtype("<f8" if self.precision == "float64" else "<f4")
        self.losses, self.losses_fault = self._read_table(LOSS)
        self.curve, self.curve_fault = self._read_table(TRAINING_LOSS)

    def tensor(self, name, shape):
        """Return the tensor in NAME.bin as (C-order shape), or what is wrong with the file."""
        path = self.folder / f"{name}.bin"
        expected = math.prod(shape) * self.dtype.itemsize
        file, fault = open_own(path)
        if fault:
            return None, fault
        with file:
            try:
                found = os.fstat(file.fileno()).st_size
                if found != expected:
                    what = f"{path.name} has {found} bytes, expected {expected}"
                    return None, f"{what}: {_size(found, shape)}"
                return np.fromfile(file, self.dtype).reshape(shape), None
            except OSError as error:
                return None, f"{path.name} cannot be read: {error.strerror}"
            except ValueError as error:  # it changed while it was read
                return None, f"{path.name} cannot be read: {error}"

    def _read_table(self, name):
        """Return {first column: number} of a table of two columns with a header."""
        text, fault = read_own_text(self.folder / name, TABLE_BYTES)
        if fault:
            return {}, fault
        lines = text.splitlines()
        values = {}
        for number, line in enumerate(lines[1:], start=2):
            words = line.split()
            if not words:
                continue
            try:
                # Fortran may write 1.0D+00.
                value = float(words[1].lower().replace("d", "e"))
            except (IndexError, ValueError):
                return {}, f"{name} line {number} is not a name and a number: {line[:40]!r}"
            if words[0] in values and values[words[0]] != value:
                both = f"{values[words[0]]} and {value}"
                return {}, f"{name} line {number} contradicts another of {words[0][:40]!r}: {both}"
            values[words[0]] = value
        return values, None


def _size(found, shape):
    """Say what a file of the wrong size may be."""
    count = math.prod(shape)
    text = " x ".join(str(length) for length in shape)
    for itemsize, dtype in ((2, "float16"), (4, "float32"), (8, "float64")):
        if found == count * itemsize:
            return f"it looks like {dtype} of the right shape ({text})"
    if found == count * 4 + 8:
        return "it has 8 bytes too many, like a Fortran sequential file: use access='stream'"
    return f"the shape is {text}"
