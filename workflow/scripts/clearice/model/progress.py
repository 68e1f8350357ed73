"""What a training says while it runs."""

import sys
import time

import tqdm

_LINE_EVERY_S = 30  # in a log; a terminal has a bar


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
    """A bar on a terminal, a line every 30 s in a log. A context manager.

    `total` and `done` count batches of the whole training; `quiet` says nothing at all.
    """

    def __init__(self, total, done, *, quiet=False):
        self._stream, self._total, self._done = sys.stderr, total, done
        self._quiet, self._bar = quiet, None
        if self._stream.isatty() and not quiet:
            self._bar = tqdm.tqdm(
                total=total, initial=done, unit="batch", file=self._stream, dynamic_ncols=True
            )
        self._last_line_s = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.close()

    def step(self, epoch, loss):
        """Count one batch."""
        self._done += 1
        if self._bar is not None:
            self._bar.update()
            self._bar.set_postfix(epoch=epoch, loss=f"{loss:.5g}", refresh=False)
        elif not self._quiet and time.monotonic() - self._last_line_s > _LINE_EVERY_S:
            self.line(f"batch {self._done} of {self._total}, epoch {epoch}, loss {loss:.5g}")

    def line(self, text):
        """Print one line, above the bar if there is one."""
        self._last_line_s = time.monotonic()
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        elif not self._quiet:
            print(text, file=self._stream, flush=True)
