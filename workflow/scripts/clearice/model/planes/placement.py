"""Where planes lie: the memory that is free decides, on all devices of a training alike."""

import contextlib
import time

import torch

from clearice.errors import InputError
from clearice.model.interruption import Interrupted
from clearice.model.planes.residency import KINDS

# What is left for everything else: a fixed part and, per pixel of a batch, activations and what
# the pool of a CUDA graph holds of them.
_MARGIN_BYTES, _MARGIN_BYTES_PER_PX = 1 << 30, 1 << 10
POLL_S = 0.05  # between two questions whether all processes have read their planes


def hold_planes(readers, device, processes, *, batch_size, size_px, threads, limit_bytes=None):
    """Return the planes on the device, of the best kind that all processes have room for.

    None where they have room for none. What is free is no promise: a kind whose memory cannot be
    had on one of the devices is given up on all. `readers` is split -> PlaneReader, `batch_size`
    and `size_px` those of all processes' batches and of patches, `limit_bytes` kind_that_fits's.
    """
    kinds = [kind for kind in KINDS if kind.suits(readers["train"], batch_size)]
    batch_px = batch_size // processes.world_size * size_px**2
    while kinds:
        kind = kind_that_fits(readers, device, batch_px, limit_bytes, kinds)
        number = len(kinds) if kind is None else kinds.index(kind)
        number = _largest(number, device, processes)
        if number == len(kinds):
            break
        planes = None
        with contextlib.suppress(torch.OutOfMemoryError):
            planes = kinds[number](readers, device, threads, processes)
        if not _largest(int(planes is None), device, processes):
            return planes
        if planes is not None:
            planes.close()
            torch.cuda.empty_cache()  # or what it held would not count as free
        kinds = kinds[number + 1 :]
    return None


def kind_that_fits(readers, device, batch_px, limit_bytes=None, kinds=KINDS):
    """Return the class that holds the planes of `readers` in the memory that is left, or None.

    `readers` is split -> PlaneReader, `batch_px` the pixels of a batch. `limit_bytes` is the
    memory to fill; None for what is free on a GPU, less a margin, and for nothing on a CPU.
    `kinds` are those of KINDS to choose from.
    """
    if limit_bytes is None:
        if device.type != "cuda":
            return None
        free, _ = torch.cuda.mem_get_info(device)
        limit_bytes = free - _MARGIN_BYTES - batch_px * _MARGIN_BYTES_PER_PX
    return next((kind for kind in kinds if kind.bytes_of(readers) <= limit_bytes), None)


def wait_together(planes, device, processes, stopped):
    """Wait until each of several processes has read its resident planes.

    Raises Interrupted in all of them soon after the callable `stopped` says so in one, and
    InputError in those that could read theirs where another could not: it says why.
    """
    started, missing = time.perf_counter(), True
    while missing:
        state = [not planes.have_arrived(), stopped is not None and stopped(), planes.have_failed()]
        state = torch.tensor(state).to(device, torch.int64)
        processes.all_reduce(state)
        missing, signals, failures = state.tolist()
        if missing and signals:
            raise Interrupted
        if missing:
            time.sleep(POLL_S)
    planes.waited_s += time.perf_counter() - started
    if failures and not planes.have_failed():
        raise InputError("another process could not read its planes")


def _largest(number, device, processes):
    """Return the largest of the numbers, 0 to len(KINDS), that the processes name here."""
    if processes.all_reduce is None:
        return number
    named = torch.zeros(len(KINDS) + 1, dtype=torch.int64, device=device)
    named[number] = 1
    processes.all_reduce(named)
    return max(n for n, count in enumerate(named.tolist()) if count)
