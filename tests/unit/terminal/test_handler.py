"""A mistake in what shows a run is told, and costs the run nothing."""

import logging
import types

import pytest

from snakemake_logger_plugin_clearice.handler import LogHandler


@pytest.fixture
def handler(monkeypatch):
    """A handler whose display can neither show, draw nor end; `told` are the mistakes it told."""
    settings = types.SimpleNamespace(
        quiet=None,
        dryrun=False,
        verbose=False,
        debug_dag=False,
        printshellcmds=False,
        stdout=False,
        nocolor=True,
    )
    handler = LogHandler(settings, None)
    handler.told = []

    def breaks(*_):
        raise ZeroDivisionError

    for name in ("show", "tick", "end"):
        monkeypatch.setattr(handler._display, name, breaks)
    monkeypatch.setattr(handler, "handleError", lambda record: handler.told.append(record.msg))
    yield handler
    handler.close()


def test_a_mistake_of_ours_ends_neither_the_run_nor_its_end(handler, monkeypatch):
    handler.emit(logging.makeLogRecord({"msg": "an event"}))
    assert handler.told == ["an event"]
    monkeypatch.setattr(handler._ended, "wait", lambda _seconds: False)
    handler._tick()  # returns: what can't be drawn is not tried each second
    handler.close()
    assert handler.told == ["an event", "the state of the run", "the state of the run"]
