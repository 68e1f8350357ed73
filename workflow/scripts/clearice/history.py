"""What a training says while it runs and leaves behind: history.tsv, peaks of memory, progress."""

import sys
import time

import torch
import tqdm

from clearice.files import write_text

COLUMNS = (
    "epoch",
    "step",
    "train_loss",
    "test_loss",
    "learning_rate",
    "batches_per_s",
    "device_wait_fraction",
    "seconds",
    "peak_host_mib",
    "peak_device_mib",
    "noise_floor_train",
    "noise_floor_test",
)
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


def peak_host_mib():
    """Return this process's largest resident set so far (MiB), pinned buffers included.

    VmHWM and not getrusage: ru_maxrss survives exec, so that a child inherits its parent's.
    """
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None


def peak_device_mib(device):
    """Return the largest amount of device memory held so far (MiB); None on a CPU.

    What is reserved and not what is allocated: the latter leaves out the pools of CUDA graphs.
    """
    return torch.cuda.max_memory_reserved(device) / 2**20 if device.type == "cuda" else None


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
