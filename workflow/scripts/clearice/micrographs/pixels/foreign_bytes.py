"""Bytes in a micrograph that are no pixels: text, such as an error page inside the file."""

import re

import numpy as np

TEXT_BYTES = 64  # of printable ASCII in a row: pixels of two bytes and more don't make them
_TEXT = re.compile(rb"[\t\r\n -~]{%d,}" % TEXT_BYTES)
_PAGES = b"<html", b"<HTML", b"<!doctype", b"<!DOCTYPE", b"<?xml", b"HTTP/1."  # begin with these
_SHOWN = 40


class TextFinder:
    """Looks for text among the stored bytes of pixels of `dtype`; `row` and `text` of the first.

    Pixels of two bytes and more are looked at where they are far out (`look` is the `watch` of
    ClearHotPixels): text makes numbers from 8,000 to 10^34. Those of one byte, which text is in
    range of, are searched for the beginning of a page (`look_in_bytes`).
    """

    def __init__(self, dtype):
        self._dtype = np.dtype(dtype)
        self.row = self.text = None

    def look(self, rows, ys, xs, first_row):
        """Take in the far pixels at `ys`, `xs` of `rows` (b, W), whose first is `first_row`."""
        if self._dtype.itemsize < 2 or self.text is not None:
            return
        counts = np.bincount(ys, minlength=len(rows)) * self._dtype.itemsize
        for row in np.nonzero(counts >= TEXT_BYTES // 2)[0].tolist():
            with np.errstate(invalid="ignore", over="ignore"):
                stored = rows[row].astype(self._dtype).tobytes()
            found = _TEXT.search(stored)
            if found:
                self._keep(found.group(), first_row + row)
                return

    def look_in_bytes(self, rows, first_row):
        """Take in rows (b, W) of pixels of one byte."""
        if self._dtype.itemsize != 1 or self.text is not None:
            return
        stored = rows.astype(np.int16).astype(np.uint8).tobytes()
        place = max(map(stored.find, _PAGES))  # far faster than an expression
        if place >= 0:
            self._keep(stored[place : place + _SHOWN], first_row + place // rows.shape[1])

    def _keep(self, text, row):
        self.row = row
        self.text = " ".join(text[:_SHOWN].decode("ascii", "replace").split())
