"""What a training is fed with: the prepared batches of an epoch, and where they come from."""

import dataclasses
import functools

import numpy as np
import torch

from clearice.dataset.manifest import read_manifest
from clearice.dataset.plane_reader import MovedPatches
from clearice.dataset.reader import open_planes, open_split
from clearice.errors import InputError
from clearice.model.epochs import (
    batches_of,
    epoch_codes,
    epoch_order,
    epoch_shifts,
    grouped_order,
)
from clearice.model.loader import Loader
from clearice.model.planes.offsets import RandomPlaces
from clearice.model.planes.patch_tables import Epoch, patch_table
from clearice.model.planes.placement import hold_planes, wait_together
from clearice.model.planes.residency import GROUP, StreamedPlanes
from clearice.model.planes.tabled_batch import TabledBatch


@dataclasses.dataclass
class FedBatch:
    """One batch on the device; it is valid until the next one is asked for.

    `tabled` says where its patches lie there, for an engine that reads them in place. `input` and
    `target` are made when they are asked for.
    """

    position: int  # in its epoch
    patches: int  # of all processes
    full: bool  # whether it has the size that all but the last one have
    tabled: TabledBatch

    @property
    def input(self):
        """(n, 1, S, S) float32, n being this process's part."""
        return self._sides[0]

    @property
    def target(self):
        """(n, 1, S, S) float32."""
        return self._sides[1]

    @functools.cached_property
    def _sides(self):
        return self.tabled.cut()


class Feed:
    """The dataset of a training, batch by batch. A context manager while batches are taken.

    `settings` is a section of config.yaml's `model`; `processes` (distributed.Processes) says
    which part of every batch is ours. `grid_px` is the network's alignment: with augmentation a
    patch of four grid cells or more gives up one of them, and is cut at another place every time.
    `memory_limit_bytes` is for planes on the device (planes/placement.py), None for what is free.
    """

    def __init__(
        self, manifest_path, settings, device, processes, grid_px=1, memory_limit_bytes=None
    ):
        self.manifest = read_manifest(manifest_path)
        self.size_px = self.training_size_px = self.manifest["patch_size_px"]
        self._grid_px, self._memory_limit_bytes = grid_px, memory_limit_bytes
        if settings["augmentation"] and 1 < grid_px <= self.size_px / 4:
            self.training_size_px = self.size_px - grid_px
        self.readers = {split: open_split(manifest_path, split) for split in ("train", "test")}
        only_planes = self.manifest["layout"] == "planes"
        self._planes = self.readers if only_planes else open_planes(manifest_path)
        self._on_device = self._loader = None
        self._settings, self._device, self._processes = settings, device, processes
        for split, reader in self.readers.items():
            if not reader.n_patches:
                raise InputError(f"the {split} split has no patches", file=manifest_path)
        if settings["batch_size"] % processes.world_size:
            raise InputError(
                "batch_size does not divide evenly among the devices",
                expected=f"a multiple of {processes.world_size}",
                found=settings["batch_size"],
            )
        self.batch_size = settings["batch_size"]
        self.batches_per_epoch = -(-self.readers["train"].n_patches // settings["batch_size"])
        self._random = None
        if self.manifest.get("offsets") == "random":
            self._random = RandomPlaces(self._planes["train"])

    def __enter__(self):
        if self._planes is not None:
            self._on_device = hold_planes(
                self._planes,
                self._device,
                self._processes,
                batch_size=self.batch_size,
                size_px=self.size_px,
                threads=self._settings["reader_threads"],
                limit_bytes=self._memory_limit_bytes,
            )
        return self

    def __exit__(self, *_):
        for source in (self._on_device, self._loader):
            if source is not None:
                source.close()
        for reader in (*self.readers.values(), *(self._planes or {}).values()):
            reader.close()

    @property
    def placement(self):
        """Where the planes lie: resident or streamed (on the device), or read by the loader.

        None for a dataset without planes.
        """
        if self._planes is None:
            return None
        return "loader" if self._on_device is None else self._on_device.name

    @property
    def images(self):
        """The type of the pixels that an engine may read where they lie."""
        return getattr(torch, self.manifest["dtype"])

    @property
    def streams(self):
        """Whether planes stream through the device: epochs then take micrographs in groups."""
        return isinstance(self._on_device, StreamedPlanes)

    @property
    def waited_s(self):
        """How long the device has waited for data so far (s)."""
        sources = self._on_device, self._loader
        return sum(source.waited_s for source in sources if source is not None)

    def training_batches(self, epoch, first=0, *, grouped=False, stopped=None):
        """Yield the batches of an epoch from number `first` on, shuffled and turned.

        `grouped` is what `streams` was when the epoch began, maybe in another run: the order of
        the patches depends on it, and any order can be gone on with. `stopped`, a callable, says
        whether a signal came: a wait for planes, which may be minutes, then ends as Interrupted.
        Several processes agree on it while all planes are read; for a group they wait.
        """
        count, seed = self.readers["train"].n_patches, self._settings["seed"]
        codes = shifts = None
        if self._settings["augmentation"]:
            halves = self.manifest["noise_floor"]["train"] is not None
            swap = self._settings["swap_halves"] and halves
            codes = epoch_codes(count, seed, epoch, swap=swap)
        if self.training_size_px < self.size_px:
            shifts = epoch_shifts(count, seed, epoch, self._grid_px)
        order, places = self._order("train", epoch, grouped), self._places_of(epoch)
        return self._batches("train", order, first, stopped, codes, shifts, places)

    def evaluation_batches(self, split, stopped=None):
        """Yield all patches of `split` in their order, as they are; `stopped` as in training."""
        return self._batches(split, self._order(split), 0, stopped)

    def _order(self, split, epoch=None, grouped=False):
        """Return the order of the patches: shuffled in a training `epoch`, else as they are."""
        reader = self.readers[split]
        if epoch is None:
            return np.arange(reader.n_patches)
        if not grouped:
            return epoch_order(reader.n_patches, self._settings["seed"], epoch)
        counts = [segment["n_patches"] for segment in reader.segments]
        segments = np.repeat(np.arange(len(counts)), counts)
        return grouped_order(segments, self._settings["seed"], epoch, GROUP)

    def _places_of(self, epoch):
        """Return where the training patches of an epoch are cut, None for the grid."""
        return self._random and self._random.of_epoch(self._settings["seed"], epoch)

    def _batches(self, split, order, first, stopped, codes=None, shifts=None, places=None):
        size = self._settings["batch_size"]
        shares = batches_of(
            order, size, rank=self._processes.rank, world_size=self._processes.world_size
        )[first:]
        ours = [indices for indices, _ in shares]
        cut_px = self.size_px if shifts is None else self.training_size_px
        if self._on_device is not None:
            reader = self._planes[split]
            at = reader.places() if places is None else places
            epoch = Epoch(order, at, self.size_px, cut_px, codes, shifts)
            if self._on_device.can_give(reader, epoch, size):
                if self._on_device.lacks_others:
                    wait_together(self._on_device, self._device, self._processes, stopped)
                if self._processes.world_size > 1:
                    stopped = None  # a batch is left by all or by none
                tabled = self._on_device.batches(split, epoch, ours, size, first, stopped)
                for position, (batch, (_, n)) in enumerate(zip(tabled, shares, strict=True), first):
                    yield FedBatch(position, n, n == size, batch)
                return
        reader = self.readers[split]
        corners = np.zeros((reader.n_patches, 2), np.int64)  # each lies in a place of its own
        if places is not None:
            reader = MovedPatches(self._planes[split], places)
        epoch = Epoch(order, corners, self.size_px, cut_px, codes, shifts)
        loaded = self._host_loader().batches(reader, ours)
        for position, (batch, (_, n)) in enumerate(zip(loaded, shares, strict=True), first):
            yield FedBatch(position, n, n == size, self._tabled(batch, epoch))

    def _host_loader(self):
        """Return the Loader, which is made when a batch is to be read through it."""
        if self._loader is None:
            self._loader = Loader(
                self._settings["batch_size"] // self._processes.world_size,
                self.size_px,
                self.manifest["dtype"],
                self._device,
                threads=self._settings["reader_threads"],
                buffer_mib=self._settings["buffer_mib"],
            )
        return self._loader

    def _tabled(self, batch, epoch):
        """Return the TabledBatch of a loader's batch; `epoch` has its patches at (0, 0)."""
        numbers, itemsize = np.arange(len(batch.indices)), batch.memory.element_size()
        addresses = np.array([[batch.input.data_ptr(), batch.target.data_ptr()]], np.int64)
        addresses = addresses + itemsize * self.size_px**2 * numbers[:, None]
        strides = np.full(len(numbers), self.size_px)
        rows = patch_table(epoch, batch.indices, addresses, strides, itemsize)
        return TabledBatch(rows, batch.memory.dtype, epoch.cut_px, batch.memory)

    def places(self, split, position, epoch=None, grouped=False):
        """Return in words where the patches of a batch lie, and bad pixels in them.

        It is the batch `position` of a training `epoch`, or of an evaluation where that is None.
        """
        reader, size, words = self.readers[split], self._settings["batch_size"], []
        order = self._order(split, epoch, grouped)
        moved = None if epoch is None else self._places_of(epoch)
        for i in order[position * size : (position + 1) * size].tolist():
            micrograph, y, x = reader.where(i)
            pair = [np.empty((self.size_px,) * 2, reader.dtype) for _ in range(2)]
            if moved is None:
                reader.read_into(i, *pair)
            else:
                y, x = moved[i].tolist()
                MovedPatches(self._planes[split], moved).read_into(i, *pair)
            bad = sum(np.count_nonzero(~np.isfinite(side)) for side in pair)
            pixels = f", {bad} pixels not finite" if bad else ""
            words.append(f"{micrograph} (y {y}, x {x}{pixels})")
        return ", ".join(words)
