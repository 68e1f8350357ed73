"""The block of bars on a terminal, and what others print there."""

import io
import sys

import pytest

from snakemake_logger_plugin_clearice.screen import Screen
from terminal_screen import Terminal


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    with Terminal(columns=40, rows=8) as terminal:
        yield terminal


def seen(terminal):
    terminal.read()
    return terminal.lines


def test_lines_stay_above_a_block_that_is_drawn_anew(terminal):
    screen = Screen(terminal.stream)
    screen.print("one")
    screen.draw(["bar 1", "bar 2"])
    screen.print("two")
    screen.draw(["bar 1 longer"])
    assert seen(terminal) == ["one", "two", "", "bar 1 longer"]
    screen.draw([])
    screen.print("three")
    assert seen(terminal) == ["one", "two", "three"]


def test_what_a_job_prints_is_whole_and_stands_above_the_block(terminal):
    screen = Screen(terminal.stream)
    screen.draw(["bar 1", "bar 2"])
    terminal.stream.write("a job says something\n")  # past the screen: another process
    terminal.stream.flush()
    screen.draw(["bar 1", "bar 2"])
    assert seen(terminal) == ["a job says something", "", "bar 1", "bar 2"]


def test_what_the_process_itself_prints_stands_above_the_block(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    screen = Screen(terminal.stream)
    screen.draw(["bar"])
    print("several\nlines", file=sys.stderr)
    print("begun", end="", file=sys.stderr)
    assert seen(terminal) == ["several", "lines", "", "bar"]
    screen.draw([])
    assert sys.stderr is terminal.stream
    terminal.stream.flush()
    assert seen(terminal) == ["several", "lines", "begun"]


def test_at_the_foot_of_the_terminal_nothing_is_lost(terminal):
    screen = Screen(terminal.stream)
    for number in range(20):
        screen.print(f"line {number}")
        screen.draw([f"bar {number}", "bar"])
    assert seen(terminal) == [*(f"line {n}" for n in range(20)), "", "bar 19", "bar"]


def test_a_block_higher_than_the_terminal_is_cut(terminal):
    screen = Screen(terminal.stream)
    screen.print("first")
    for _ in range(3):
        screen.draw([f"bar {number}" for number in range(20)])
    assert seen(terminal) == ["first", "", *(f"bar {n}" for n in range(6))]


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("NO_COLOR", "1")])
def test_no_colour_where_none_is_wanted(terminal, monkeypatch, name, value):
    assert "\x1b[31m" in Screen(terminal.stream).style("x", "red")
    monkeypatch.setenv(name, value)
    assert Screen(terminal.stream).style("x", "red") == "x"
    assert Screen(terminal.stream, colour=False).live == (name == "NO_COLOR")


def test_a_file_gets_lines_only():
    log = io.StringIO()
    screen = Screen(log)
    screen.draw(["bar"])
    screen.print(screen.style("a line", "green"))
    screen.draw([])
    assert log.getvalue() == "a line\n"
    assert screen.size == (79, 24)


def test_letters_that_the_terminal_does_not_have():
    log = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    screen = Screen(log)
    assert not screen.unicode
    screen.print("größer ✓")
    assert log.buffer.getvalue() == b"gr\\xf6\\xdfer \\u2713\n"


def test_a_reader_that_is_gone_ends_no_run():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    Screen(Gone()).print("nobody reads this")
