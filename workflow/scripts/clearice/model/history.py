"""What a training says while it runs, and what it leaves behind: history.tsv."""

import sys
import time

import tqdm

from clearice.files import write_text

COLUMNS = (
    "epoch",
    "step",
    "train_loss",
    "test_loss",
    "batch_loss",
    "learning_rate",
    "batches_per_s",
    "device_wait_fraction",
    "seconds",
    "peak_host_mib",
    "peak_device_mib",
    "noise_floor_train",
    "noise_floor_test",
)
# train_loss and test_loss are of the weights at the end of the epoch, over all pixels of a split;
# batch_loss is the mean over the epoch's batches, each before its step.
_LINE_EVERY_S = 30  # in a log; a terminal has a bar


def write_history(path, rows):
    """Write `rows` (dicts with the keys COLUMNS) as tab-separated text; None is an empty field."""
    lines = ["\t".join(COLUMNS)]
    for row in rows:
        lines.append("\t".join(_field(row[column]) for column in COLUMNS))
    write_text(path, "\n".join(lines) + "\n")


def _field(value):
    if value is None:
        return ""
    return f"{value:.9g}" if isinstance(value, float) else str(value)


class EpochTotals:
    """Sums over the steps of an epoch: losses weighted by patches, seconds, seconds waited."""

    def __init__(self, loss=0.0, patches=0, seconds=0.0, waited_s=0.0):
        self.loss, self.patches, self.seconds, self.waited_s = loss, patches, seconds, waited_s

    def add_loss(self, loss, patches):
        """Add the mean loss of a batch of so many patches."""
        self.loss += loss * patches
        self.patches += patches

    def rates(self, batch_size):
        """Return the columns that follow from the sums."""
        return {
            "batch_loss": self.loss / self.patches,
            "batches_per_s": self.patches / batch_size / self.seconds,
            "device_wait_fraction": min(1.0, self.waited_s / self.seconds),
        }


def describe_row(row, epochs):
    """Return a row of the history as one line for a log."""
    floor = row["noise_floor_test"]
    return (
        f"epoch {row['epoch']} of {epochs}: train {row['train_loss']:.5g}, "
        f"test {row['test_loss']:.5g}"
        + ("" if floor is None else f", noise floor {floor:.5g}")
        + f"; {row['batches_per_s']:.4g} batches/s, "
        f"waited for data {100 * row['device_wait_fraction']:.1f} %"
    )


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
