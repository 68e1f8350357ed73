"""Takes Snakemake's events and shows them: lines that stay, and on a terminal bars below them."""

import atexit
import logging
import sys
import threading
import time

from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.base import LogHandlerBase

from snakemake_logger_plugin_clearice.run_display import RunDisplay
from snakemake_logger_plugin_clearice.screen import Screen

_NO_EVENT = logging.makeLogRecord({"msg": "the state of the run"})  # not an event of it


class LogHandler(LogHandlerBase):
    """The plugin, as Snakemake's interface asks for it."""

    def __post_init__(self):
        """Choose who speaks: Snakemake itself where somebody asked for its details."""
        settings = self.common_settings
        self._ticker, self._ended = None, threading.Event()
        self._snakemakes = self._display = None
        self._shows_nothing = Quietness.ALL in (settings.quiet or ()) and not settings.dryrun
        if settings.verbose or settings.debug_dag or settings.printshellcmds:
            self._snakemakes = _snakemakes_own(settings)
        elif not self._shows_nothing:
            screen = Screen(_stream(settings), colour=not settings.nocolor)
            self._display = RunDisplay(screen, dry=settings.dryrun)
            atexit.register(self.close)  # a run that ends without Snakemake's own end

    def emit(self, record):
        """Show one event."""
        self._try(self._show, record, record=record)

    def _show(self, record):
        if self._snakemakes is not None:
            self._snakemakes.handle(record)
        elif self._display is not None:
            self._display.show(record, time.monotonic())
            if self._ticker is None and self._display.is_running:
                self._ticker = threading.Thread(target=self._tick, daemon=True)
                self._ticker.start()

    def _try(self, show, *arguments, record=_NO_EVENT):
        """Call `show`; return whether that went well. A line less, and never a run less."""
        try:
            show(*arguments)
        except Exception:
            self.handleError(record)
            return False
        return True

    def _tick(self):
        well = True
        while well and not self._ended.wait(1.0):  # not a traceback every second
            with self.lock:
                if not self._ended.is_set():
                    well = self._try(self._display.tick, time.monotonic())

    def close(self):
        """Take the bars away and say how the run ended; Snakemake calls this at its end."""
        with self.lock:
            if self._display is not None and not self._ended.is_set():
                self._ended.set()
                self._try(self._display.end, time.monotonic())
        super().close()

    writes_to_stream = property(lambda self: True, doc="It has the terminal for itself.")
    writes_to_file = property(lambda self: False, doc="Snakemake's log is written by Snakemake.")
    has_filter = property(lambda self: True, doc="What is quiet is decided here.")
    has_formatter = property(lambda self: True, doc="And how it looks.")
    needs_rulegraph = property(lambda self: False, doc="A run has no need to draw one.")


def _stream(settings):
    return sys.stdout if settings.stdout else sys.stderr


def _snakemakes_own(settings):
    """Return the handler that Snakemake uses where there is no plugin."""
    said = settings.quiet, settings.debug_dag, settings.verbose
    own = ColorizingTextHandler(nocolor=settings.nocolor, stream=_stream(settings))
    own.addFilter(DefaultFilter(*said, settings.dryrun, settings.printshellcmds))
    own.setFormatter(DefaultFormatter(settings.quiet, settings.show_failed_logs))
    return own
