"""Several processes, one per device, that train as one."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

from clearice.errors import InputError
from clearice.stopping import leave_terminal, stopping_signals

_RENDEZVOUS = "CLEARICE_RENDEZVOUS"
_PATIENCE_S = 60  # with processes that are told to end, and write a checkpoint
_PATIENCE_WITH_BEREFT_S = 10  # with those whose collectives wait for a process that was killed


class Processes:
    """This process among those of one training: `rank` of `world_size`; 0 of 1 when alone."""

    def __init__(self):
        self.rank = int(os.environ.get("RANK", 0))
        self.world_size = int(os.environ.get("WORLD_SIZE", 1))
        self.local_rank = int(os.environ.get("LOCAL_RANK", self.rank))

    def join(self, device):
        """Meet the other processes; nccl between GPUs, gloo between CPUs. A context manager."""
        if self.world_size > 1:
            torch.distributed.init_process_group(
                "nccl" if device.type == "cuda" else "gloo",
                init_method=os.environ.get(_RENDEZVOUS, "env://"),
                rank=self.rank,
                world_size=self.world_size,
            )
            if _RENDEZVOUS in os.environ:
                threading.Thread(target=_stop_without_parent, daemon=True).start()
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.world_size > 1:
            torch.distributed.destroy_process_group()

    def share(self, value):
        """Return rank 0's `value` (anything that can be pickled) on every process."""
        if self.world_size == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]

    def broadcast(self, tensor, rank):
        """Give a tensor of the process `rank` to all others, in place."""
        torch.distributed.broadcast(tensor, src=rank)

    @property
    def all_reduce(self):
        """The function that sums a tensor over all processes in place; None when alone."""
        return torch.distributed.all_reduce if self.world_size > 1 else None


def launched():
    """Say whether this process is one of several already (of ours, or of torchrun)."""
    return "WORLD_SIZE" in os.environ


def launch(command, count):
    """Run `command` in `count` processes that find each other; return when all have ended.

    SIGTERM, SIGINT and SIGHUP are passed on, and the processes have a minute to write a checkpoint.
    When one fails the others are stopped. Raises InputError when one failed, SystemExit when
    they were interrupted.
    """
    signals, before = [], {}

    def note(number, _frame):
        leave_terminal()
        signals.append(number)

    for number in stopping_signals():
        before[number] = signal.signal(number, note)
    try:
        with tempfile.TemporaryDirectory(prefix="clearice-") as folder:
            workers = [_start(command, rank, count, folder) for rank in range(count)]
            statuses = _wait(workers, signals)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if signals:
        sys.exit(128 + signals[0])
    failed = [f"{rank} (status {s})" for rank, s in enumerate(statuses) if s]
    if failed:
        raise InputError(
            f"training process {', '.join(failed)} of {count} failed",
            advice="the lines before this one say why",
        )


def _start(command, rank, count, folder):
    environment = {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // count)),  # they share our cores
        _RENDEZVOUS: (Path(folder) / "rendezvous").as_uri(),
    }
    stream = sys.stderr if _is_file(sys.stderr) else None  # a job's log
    # A session of its own: Ctrl-C of a terminal must reach it once, through us.
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=stream,
        stderr=stream,
        start_new_session=True,
    )


def _is_file(stream):
    try:
        return stream.fileno() >= 0
    except (OSError, ValueError, AttributeError):
        return False


def _wait(workers, signals):
    """Return the exit statuses; pass on the first signal, and one worker's end to the others."""
    told_at = None
    while any(worker.poll() is None for worker in workers):
        if told_at is None and (signals or any(worker.poll() for worker in workers)):
            told_at = time.monotonic()
            for worker in workers:
                if worker.poll() is None:
                    worker.send_signal(signal.SIGTERM)
        # A process that waits for a dead one inside a collective hears no signal.
        killed = any((worker.returncode or 0) < 0 for worker in workers)
        patience_s = _PATIENCE_WITH_BEREFT_S if killed else _PATIENCE_S
        if told_at is not None and time.monotonic() - told_at > patience_s:
            for worker in workers:
                worker.kill()
        time.sleep(0.1)
    return [worker.returncode for worker in workers]


def _stop_without_parent():
    """Stop this process like SIGTERM does when the process that launched it is gone."""
    os.read(0, 1)  # standard input is a pipe that only the parent's death closes
    os.kill(os.getpid(), signal.SIGTERM)
