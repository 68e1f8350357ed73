"""What a denoising of many files says: a bar that fits a terminal, few lines in a log."""

import fcntl
import os
import pty
import struct
import sys
import termios

import pytest

from clearice.denoised import progress
from clearice.denoised.progress import FileProgress


@pytest.fixture
def terminal():
    """A terminal of 80 columns: the stream to write to, and a function that reads its lines."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    stream = os.fdopen(theirs, "w")

    def lines():
        stream.close()
        text = b""
        try:
            while piece := os.read(ours, 65536):
                text += piece
        except OSError:  # Linux: all was read and the other end is closed
            pass
        os.close(ours)
        return text.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")

    return stream, lines


def test_a_bar_shows_files_rate_and_time_left_in_80_columns(terminal, monkeypatch):
    stream, read_lines = terminal
    monkeypatch.setattr(sys, "stderr", stream)
    with FileProgress(12345, 700_000_000_000) as bar:
        bar.add_pixels(350_000_000_000)
        bar.line("warning: one")
        bar.add_file()
    lines = read_lines()
    assert "warning: one" in [line.strip() for line in lines]
    assert any(line.startswith("1/12345 files |") and line.endswith(" left") for line in lines)
    assert any("Mpx/s" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_nothing_to_do_has_no_bar(terminal, monkeypatch):
    stream, read_lines = terminal
    monkeypatch.setattr(sys, "stderr", stream)
    with FileProgress(0, 0):
        pass
    assert read_lines() == [""]


def test_a_log_has_a_line_now_and_then(monkeypatch, capsys):
    with FileProgress(2, 4_000_000) as log:
        log.add_pixels(1_000_000)
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(progress, "_LINE_EVERY_S", -1)
        log.add_pixels(1_000_000)
        log.add_file()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("0/2 files, ")
    assert line.endswith(" left")
