"""Planes that lie on the device for a whole training, or stream through it.

Both give batches as tables of patches (patch_tables.py), and as tensors for an engine that reads no
tables. On a CPU they do the same in its own memory, for tests only.
"""

import time

import numpy as np
import torch

from clearice.dataset.segments import SIDES
from clearice.model.planes.copying import PlaneCopier
from clearice.model.planes.patch_tables import patch_table
from clearice.model.planes.tabled_batch import TabledBatch

GROUP = 8  # micrographs whose patches are shuffled together where planes are streamed
_ALIGNMENT_BYTES = 256  # of a plane on the device


class _Planes:
    """What both kinds share: one piece of memory, and tables of addresses in it."""

    def __init__(self, readers, device, threads):
        self._readers, self._device, self.waited_s = readers, device, 0.0
        self._bytes = torch.empty(self.bytes_of(readers), dtype=torch.uint8, device=device)
        dtype = np.dtype(next(iter(readers.values())).dtype.newbyteorder("="))
        self._dtype = torch.from_numpy(np.empty(0, dtype)).dtype
        self._memory = self._bytes.view(self._dtype)
        self._copier = PlaneCopier(device, threads)

    def close(self):
        """End the threads and give back the memory."""
        self._copier.close()
        self._bytes = self._memory = None

    def _begin(self, split, number, at, after=None):
        """Begin to read the planes of a segment to byte `at` of the memory; return an Arrival."""
        reader = self._readers[split]
        count, planes = reader.plane_bytes(number), []
        for side in SIDES:
            planes.append((reader, number, side, self._bytes[at : at + count]))
            at += _aligned(count)
        return self._copier.submit(planes, after)

    def _table(self, split, epoch, indices, starts):
        """Return the table of patches; `starts` says where the planes of each segment begin."""
        reader, itemsize = self._readers[split], self._dtype.itemsize
        numbers, count = reader.segments_of(indices), len(reader.segments)
        steps = [_aligned(reader.plane_bytes(number)) for number in range(count)]
        addresses = self._bytes.data_ptr() + starts[numbers][:, None]
        addresses = addresses + np.array(steps, np.int64)[numbers][:, None] * np.arange(2)
        strides = np.array([segment["planes"]["width_px"] for segment in reader.segments])
        return patch_table(epoch, indices, addresses, strides[numbers], itemsize)

    def _batches(self, split, epoch, shares, starts):
        """Yield a TabledBatch for each array of indices in `shares`."""
        if not shares:
            return
        rows = self._table(split, epoch, np.concatenate(shares), starts)
        table = torch.from_numpy(rows).to(self._device)  # once an epoch
        end = 0
        for share in shares:
            begin, end = end, end + len(share)
            yield TabledBatch(
                host_table=rows[begin:end],
                dtype=self._dtype,
                cut_px=epoch.cut_px,
                memory=self._memory,
                device_table=table[begin:end],
            )

    def _wait(self, arrivals, stopped):
        started = time.perf_counter()
        try:
            for arrival in arrivals:
                arrival.wait(self._device, stopped)
        finally:
            self.waited_s += time.perf_counter() - started


class ResidentPlanes(_Planes):
    """All planes of all splits, read once.

    Several processes (distributed.Processes) read a part each, and give it to the others.
    """

    name = "resident"  # in training.json

    def __init__(self, readers, device, threads, processes=None):
        super().__init__(readers, device, threads)
        alone = processes is None or processes.world_size == 1
        self._processes = None if alone else processes
        count, rank = (1, 0) if alone else (processes.world_size, processes.rank)
        total, at = len(self._bytes), 0
        self._starts, self._arrivals = {}, []
        self._parts = {}  # process -> (first, end) of what it reads, in bytes
        for split, reader in readers.items():
            starts = []
            for number in range(len(reader.segments)):
                starts.append(at)
                whose, end = at * count // total, at + _pair_bytes(reader, number)
                self._parts[whose] = self._parts.get(whose, (at,))[0], end
                if whose == rank:
                    self._arrivals.append(self._begin(split, number, at))
                at = end
            self._starts[split] = np.array(starts, np.int64)

    @property
    def lacks_others(self):
        """Whether planes that other processes read are still to come from them."""
        return self._processes is not None

    def have_arrived(self):
        """Say whether all planes that are ours to read were."""
        return all(arrival.has_ended for arrival in self._arrivals)

    def have_failed(self):
        """Say whether one of them could not be read."""
        return any(arrival.has_failed for arrival in self._arrivals)

    @staticmethod
    def bytes_of(readers):
        """Return how many bytes of memory that takes."""
        return sum(
            _pair_bytes(reader, number)
            for reader in readers.values()
            for number in range(len(reader.segments))
        )

    @staticmethod
    def suits(reader, batch_size):
        """Say whether a training on a split can be fed: any can."""
        return True

    @staticmethod
    def can_give(reader, epoch, batch_size):
        """Say whether the order of an epoch can be had: any."""
        return True

    def batches(self, split, epoch, shares, batch_size, first=0, stopped=None):
        """Yield a TabledBatch for each of `shares`, the indices of this process in each batch.

        `epoch` is a patch_tables.Epoch; `first` the number of the first share in it. `stopped`, a
        callable, says whether to raise Interrupted instead of waiting for planes. The first
        batches of several processes are asked for when all have read (placement.wait_together).
        """
        self._wait(self._arrivals, stopped)
        self._arrivals = []
        if self._processes is not None:
            for rank, (first_byte, end) in self._parts.items():
                self._processes.broadcast(self._bytes[first_byte:end], rank)
            self._processes = None
        yield from self._batches(split, epoch, shares, self._starts[split])


class StreamedPlanes(_Planes):
    """Two groups of GROUP micrographs: batches come from one while the next is read.

    A group's memory is written again when the last batch that has patches of it is done.
    """

    name = "streamed"  # in training.json
    lacks_others = False

    def __init__(self, readers, device, threads, processes=None):
        super().__init__(readers, device, threads)  # each process reads what it needs

    @classmethod
    def bytes_of(cls, readers):
        """Return how many bytes of memory that takes."""
        return 2 * GROUP * cls._slot_bytes(readers)

    @staticmethod
    def _slot_bytes(readers):
        return max(
            _pair_bytes(reader, number)
            for reader in readers.values()
            for number in range(len(reader.segments))
        )

    @staticmethod
    def suits(reader, batch_size):
        """Say whether no batch of a training on a split needs a third group of micrographs.

        None does where every group has a batch of patches, whichever micrographs it is dealt.
        """
        counts = sorted(segment["n_patches"] for segment in reader.segments)
        return len(counts) <= 2 * GROUP or sum(counts[:GROUP]) >= batch_size

    @staticmethod
    def can_give(reader, epoch, batch_size):
        """Say whether the order keeps to groups, and no batch needs more than two of them."""
        _, groups = _grouped(reader, epoch.order)
        ends = np.minimum(np.arange(0, len(groups), batch_size) + batch_size, len(groups)) - 1
        spans = groups[ends] - groups[::batch_size]
        return bool((np.diff(groups) >= 0).all() and spans.max() <= 1)

    def batches(self, split, epoch, shares, batch_size, first=0, stopped=None):
        """Yield a TabledBatch for each of `shares`, the indices of this process in each batch.

        `epoch` is a patch_tables.Epoch; `first` the number of the first share in it. `stopped`, a
        callable, says whether to raise Interrupted instead of waiting for planes.
        """
        reader = self._readers[split]
        sequence, groups = _grouped(reader, epoch.order)
        slot_bytes = self._slot_bytes(self._readers)
        starts = np.zeros(len(reader.segments), np.int64)
        starts[sequence] = np.arange(len(sequence)) % (2 * GROUP) * slot_bytes
        under_way, begun = {}, int(groups[first * batch_size]) if shares else 0

        def begin(group, after=None):
            members = sequence[group * GROUP : (group + 1) * GROUP].tolist()
            under_way[group] = [self._begin(split, n, int(starts[n]), after) for n in members]

        tabled = self._batches(split, epoch, shares, starts)
        try:
            for position, batch in enumerate(tabled, first):
                members = groups[position * batch_size : (position + 1) * batch_size]
                event = self._event()  # all that was launched on groups before these is before it
                while begun < members[0] + 2:
                    begin(begun, event)
                    begun += 1
                for group in range(members[0], members[-1] + 1):
                    self._wait(under_way.get(group, ()), stopped)
                    under_way.pop(group, None)
                yield batch
        finally:  # reads that nobody will ask for write into the memory
            for arrivals in under_way.values():
                for arrival in arrivals:
                    arrival.drop()

    def _event(self):
        """Return an event at the end of what the device has to do by now; None on a CPU."""
        if self._device.type != "cuda":
            return None
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self._device))
        return event


KINDS = (ResidentPlanes, StreamedPlanes)  # the better first


def _grouped(reader, order):
    """Return (segments in the order in which they come, group of each patch of `order`)."""
    numbers = reader.segments_of(order)
    present, met_at = np.unique(numbers, return_index=True)
    sequence = present[np.argsort(met_at)]
    rank = np.zeros(len(reader.segments), np.int64)
    rank[sequence] = np.arange(len(sequence))
    return sequence, rank[numbers] // GROUP


def _pair_bytes(reader, number):
    return 2 * _aligned(reader.plane_bytes(number))


def _aligned(count):
    return -(-count // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
