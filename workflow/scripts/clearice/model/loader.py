"""Batches from a dataset of any size, through a fixed amount of memory.

Reader threads fill the slots of a small ring of (pinned) host buffers. While one slot is copied
to the device on a stream of its own, the others are being filled; the device has two buffers,
so that the copy of a batch runs beside the computation on the one before. There is no thread
that schedules: asking for batch k hands slot k - 1 back to the readers, which is early enough
for the period to be that of the slower of reading and copying.
"""

import contextlib
import dataclasses
import queue
import threading
import time

import numpy as np
import torch

from clearice.errors import InputError

_MIB = 1 << 20
_MOST_SLOTS = 16  # batches read ahead at most: small patches gain nothing from more


@dataclasses.dataclass
class Batch:
    """Patches on the device, in the dataset's dtype; valid until the next one is asked for."""

    indices: np.ndarray  # (n,) of the patches in their split
    input: torch.Tensor  # (n, 1, S, S)
    target: torch.Tensor  # (n, 1, S, S)
    memory: torch.Tensor  # (elements,): both are views of it


class Loader:
    """Reads batches of a split in a given order. A context manager: it owns threads and memory.

    `batch_size` and `patch_size_px` are the largest batch's, `dtype` the dataset's (NumPy).
    Host memory is `buffer_mib` at most, whatever the dataset's size. `waited_s` is how long the
    device (on a CPU: the consumer) has stood still waiting for data.
    """

    def __init__(self, batch_size, patch_size_px, dtype, device, *, threads=8, buffer_mib=64):
        self.device, self.waited_s = torch.device(device), 0.0
        dtype = torch.from_numpy(np.empty(0, np.dtype(dtype).newbyteorder("="))).dtype
        shape = (2, batch_size, 1, patch_size_px, patch_size_px)  # input and target: one copy
        on_gpu = self.device.type == "cuda"
        count = _slot_count(shape, dtype.itemsize, buffer_mib)
        self._slots = [
            _Slot(torch.empty(shape, dtype=dtype, pin_memory=on_gpu)) for _ in range(count)
        ]
        self._lane = _CopyLane(shape, dtype, self.device) if on_gpu else None
        self._tasks = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=_fill_slots, args=(self._tasks,), daemon=True)
            for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """End the reader threads, when what they have been asked for is read."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def batches(self, reader, index_batches):
        """Yield a Batch for each array of patch indices in `index_batches` (a list), in order.

        `reader` has read_into, as open_split's have. Raises what a read raised (an InputError for a
        file that was cut short) when its batch is due. Only one iteration at a time.
        """
        ring, submitted = self._slots, 0
        with contextlib.closing(_Pending(ring)) as pending:
            for k in range(len(index_batches)):
                if k:  # batch k - 1: its slot is free as soon as its copy has ended
                    ring[(k - 1) % len(ring)].wait_copied()
                while submitted < min(len(index_batches), k + len(ring)):
                    pending.submit(submitted, reader, index_batches[submitted], self._tasks)
                    submitted += 1
                yield self._deliver(pending, k, index_batches[k])

    def _deliver(self, pending, k, indices):
        if self._lane is None:
            started = time.perf_counter()
            slot = pending.wait(k)
            self.waited_s += time.perf_counter() - started
            pair = slot.pair
        else:
            self._lane.before()
            slot = pending.wait(k)
            pair = self._lane.copy(slot, len(indices))
            self.waited_s += self._lane.waited_s()
        return Batch(indices, *pair[:, : len(indices)], pair.view(-1))


def _slot_count(shape, itemsize, buffer_mib):
    """Return how many batches fit into `buffer_mib`; two must."""
    batch_mib = float(np.prod(shape)) * itemsize / _MIB
    if 2 * batch_mib > buffer_mib:
        raise InputError(
            "two batches do not fit into the loader's buffers",
            expected=f"buffer_mib of at least {int(np.ceil(2 * batch_mib))}",
            found=buffer_mib,
            advice="raise buffer_mib or lower batch_size",
        )
    return min(_MOST_SLOTS, int(buffer_mib // batch_mib))


class _Slot:
    """One host buffer of a batch: (2, batch, 1, S, S), input and target."""

    def __init__(self, pair):
        self.pair, self.arrays, self.copied = pair, pair.numpy(), None
        self.done, self.pending = queue.SimpleQueue(), 0

    def wait_copied(self):
        if self.copied is not None:
            self.copied.synchronize()
            self.copied = None


class _Pending:
    """The reads that are under way, by slot."""

    def __init__(self, ring):
        self._ring = ring

    def submit(self, k, reader, indices, tasks):
        slot = self._ring[k % len(self._ring)]
        slot.pending = 2 * len(indices)
        for row, i in enumerate(indices):
            input_patch, target_patch = slot.arrays[:, row, 0]  # (S, S) each
            tasks.put((slot, reader, int(i), input_patch, None))
            tasks.put((slot, reader, int(i), None, target_patch))

    def wait(self, k):
        """Return slot `k` when every patch of it was read; raise what a read raised."""
        slot, error = self._ring[k % len(self._ring)], None
        while slot.pending:
            error = slot.done.get() or error
            slot.pending -= 1
        if error is not None:
            raise error
        return slot

    def close(self):
        """Wait for reads that nobody will ask for: they write into the buffers."""
        for slot in self._ring:
            while slot.pending:
                slot.done.get()
                slot.pending -= 1
            slot.wait_copied()


def _fill_slots(tasks):
    """A reader thread: one side of a patch after the other, until a None."""
    while (task := tasks.get()) is not None:
        slot, reader, i, input_patch, target_patch = task
        try:
            reader.read_into(i, input_patch, target_patch)
        except BaseException as error:  # it is the consumer's: it asked for the patch
            slot.done.put(error)
        else:
            slot.done.put(None)


class _CopyLane:
    """Two device buffers and the stream that fills them."""

    def __init__(self, shape, dtype, device):
        self._buffers = [torch.empty(shape, dtype=dtype, device=device) for _ in range(2)]
        self._stream = torch.cuda.Stream(device)
        self._device, self._intervals = device, []
        self._begin = self._free = None

    def before(self):
        """Mark, among the device's work, the end of what the consumer has launched so far."""
        self._begin = torch.cuda.Event(enable_timing=True)
        self._begin.record(torch.cuda.current_stream(self._device))

    def copy(self, slot, count):
        """Return the buffer with the first `count` patches of `slot`, for the consumer's stream.

        It is as large as the slot, (2, batch, 1, S, S).
        """
        compute = torch.cuda.current_stream(self._device)
        self._buffers.reverse()
        buffer = self._buffers[0]  # that of the batch before the last one ...
        if self._free is not None:
            self._stream.wait_event(self._free)  # ... the work on which ends here
        self._free = self._begin
        with torch.cuda.stream(self._stream):
            if count == slot.pair.shape[1]:
                buffer.copy_(slot.pair, non_blocking=True)
            else:
                for side in range(2):
                    buffer[side, :count].copy_(slot.pair[side, :count], non_blocking=True)
            slot.copied = torch.cuda.Event()
            slot.copied.record(self._stream)
        compute.wait_event(slot.copied)
        end = torch.cuda.Event(enable_timing=True)
        end.record(compute)
        self._intervals.append((self._begin, end))
        return buffer

    def waited_s(self):
        """Return the waits (s) that ended since it was last asked, without waiting for others."""
        total = 0.0
        while self._intervals and self._intervals[0][1].query():
            begin, end = self._intervals.pop(0)
            total += begin.elapsed_time(end) / 1e3
        return total
