"""What a training is fed with: the prepared batches of an epoch, and where they come from."""

import dataclasses

import numpy as np
import torch

from clearice.dataset.manifest import read_manifest
from clearice.dataset.reader import open_split
from clearice.errors import InputError
from clearice.model.epochs import (
    batches_of,
    epoch_codes,
    epoch_order,
    epoch_shifts,
    shifted,
    turned,
)
from clearice.model.loader import Loader


@dataclasses.dataclass
class FedBatch:
    """One batch on the device; its tensors are valid until the next one is asked for."""

    position: int  # in its epoch
    patches: int  # of all processes
    full: bool  # whether it has the size that all but the last one have
    input: torch.Tensor  # (n, 1, S, S) float32, n being this process's part
    target: torch.Tensor  # (n, 1, S, S) float32


class Feed:
    """The dataset of a training, batch by batch. A context manager while batches are taken.

    `settings` is a section of config.yaml's `model`; `processes` (distributed.Processes) says
    which part of every batch is ours. `grid_px` is the network's alignment: with augmentation a
    patch of four grid cells or more gives up one of them, and is cut at another place every time.
    """

    def __init__(self, manifest_path, settings, device, processes, grid_px=1):
        self.manifest = read_manifest(manifest_path)
        self.size_px = self.training_size_px = self.manifest["patch_size_px"]
        self._grid_px = grid_px
        if settings["augmentation"] and 1 < grid_px <= self.size_px / 4:
            self.training_size_px = self.size_px - grid_px
        self.readers = {split: open_split(manifest_path, split) for split in ("train", "test")}
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

    def __enter__(self):
        self._loader = Loader(
            self._settings["batch_size"] // self._processes.world_size,
            self.size_px,
            self.manifest["dtype"],
            self._device,
            threads=self._settings["reader_threads"],
            buffer_mib=self._settings["buffer_mib"],
        )
        return self

    def __exit__(self, *_):
        self._loader.close()
        for reader in self.readers.values():
            reader.close()

    @property
    def waited_s(self):
        """How long the device has waited for data so far (s)."""
        return self._loader.waited_s

    def training_batches(self, epoch, first=0):
        """Yield the batches of an epoch from number `first` on, shuffled and turned."""
        count, seed = self.readers["train"].n_patches, self._settings["seed"]
        codes = shifts = None
        if self._settings["augmentation"]:
            halves = self.manifest["noise_floor"]["train"] is not None
            swap = self._settings["swap_halves"] and halves
            codes = epoch_codes(count, seed, epoch, swap=swap)
        if self.training_size_px < self.size_px:
            shifts = epoch_shifts(count, seed, epoch, self._grid_px)
        return self._batches("train", self._order("train", epoch), first, codes, shifts)

    def evaluation_batches(self, split):
        """Yield all patches of `split` in their order, as they are."""
        return self._batches(split, self._order(split), 0)

    def _order(self, split, epoch=None):
        """Return the order of the patches: shuffled in a training `epoch`, else as they are."""
        count = self.readers[split].n_patches
        if epoch is None:
            return np.arange(count)
        return epoch_order(count, self._settings["seed"], epoch)

    def _batches(self, split, order, first, codes=None, shifts=None):
        size = self._settings["batch_size"]
        shares = batches_of(
            order, size, rank=self._processes.rank, world_size=self._processes.world_size
        )[first:]
        loaded = self._loader.batches(self.readers[split], [ours for ours, _ in shares])
        for position, (batch, (_, patches)) in enumerate(zip(loaded, shares, strict=True), first):
            pair = batch.input, batch.target
            if codes is not None and len(batch.indices):
                pair = turned(*pair, codes[batch.indices])
            if shifts is not None and len(batch.indices):
                places = shifts[batch.indices]
                pair = [shifted(side, places, self.training_size_px) for side in pair]
            inputs, targets = (side.float() for side in pair)
            yield FedBatch(position, patches, patches == size, inputs, targets)

    def places(self, split, position, epoch=None):
        """Return in words where the patches of a batch lie, and bad pixels in them.

        It is the batch `position` of a training `epoch`, or of an evaluation where that is None.
        """
        reader, size, words = self.readers[split], self._settings["batch_size"], []
        order = self._order(split, epoch)
        for i in order[position * size : (position + 1) * size]:
            micrograph, y, x = reader.where(int(i))
            bad = sum(np.count_nonzero(~np.isfinite(side)) for side in reader.read(int(i)))
            pixels = f", {bad} pixels not finite" if bad else ""
            words.append(f"{micrograph} (y {y}, x {x}{pixels})")
        return ", ".join(words)
