"""What a training says while it runs."""

import collections
import sys
import time

import tqdm

from clearice.job_progress import ProgressFile

_LINE_EVERY_S = 30  # in a log; a terminal has a bar
_LATELY = 30  # seconds or batches, whichever takes longer, that today's pace is the mean of


def describe_row(row, epochs):
    """Return a row of the history as one line for a log."""
    floor = row["noise_floor_test"]
    return (
        f"epoch {row['epoch']} of {epochs}: train {row['train_loss']:.5g}, "
        f"test {row['test_loss']:.5g}"
        + ("" if floor is None else f", noise floor {floor:.5g}")
        + _speed(row)
    )


def _speed(row):
    if row["batches_per_s"] is None:
        return ""
    waited = f"waited for data {100 * row['device_wait_fraction']:.1f} %"
    return f"; {row['batches_per_s']:.4g} batches/s, {waited}"


class Progress:
    """A bar on a terminal, a line every 30 s in a log, and a job's file. A context manager.

    `total` and `done` count batches of the whole training, which ends with the epoch `last_epoch`;
    `quiet` says nothing at all.
    """

    def __init__(self, total, done, last_epoch, *, quiet=False):
        self._stream, self._total, self._done = sys.stderr, total, done
        self._last_epoch = last_epoch
        self._quiet, self._bar = quiet, None
        if self._stream.isatty() and not quiet:
            self._bar = tqdm.tqdm(
                total=total, initial=done, unit="batch", file=self._stream, dynamic_ncols=True
            )
        self._last_line_s = time.monotonic()
        self._file = None if quiet else ProgressFile(total, done)
        self._lately = collections.deque([(self._last_line_s, done)], maxlen=_LATELY)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.close()

    def step(self, epoch, loss):
        """Count one batch."""
        self._done += 1
        if self._file is not None and self._file.is_due():
            words = f"epoch {epoch} of {self._last_epoch}, loss {loss:.4g}, {self._pace()}"
            self._file.write(self._done, words)
        if self._bar is not None:
            self._bar.update()
            self._bar.set_postfix(epoch=epoch, loss=f"{loss:.5g}", refresh=False)
        elif not self._quiet and time.monotonic() - self._last_line_s > _LINE_EVERY_S:
            self.line(f"batch {self._done} of {self._total}, epoch {epoch}, loss {loss:.5g}")

    def _pace(self):
        """Return the batches per second of about the last half minute."""
        now, (then, done) = time.monotonic(), self._lately[0]
        self._lately.append((now, self._done))
        return f"{(self._done - done) / (now - then):.3g} batches/s"

    def line(self, text):
        """Print one line, above the bar if there is one."""
        self._last_line_s = time.monotonic()
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        elif not self._quiet:
            print(text, file=self._stream, flush=True)
