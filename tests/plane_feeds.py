"""What a training is fed with from planes, on a CPU, for the tests of where they lie."""

import numpy as np
import torch

from clearice.dataset.reader import open_planes, open_split
from clearice.model.distributed import Processes
from clearice.model.epochs import epoch_codes, epoch_order, epoch_shifts
from clearice.model.feed import Feed
from clearice.model.planes.residency import ResidentPlanes, StreamedPlanes
from plane_tables import turned
from training_data import model_settings

CPU, EVERYTHING = torch.device("cpu"), 1 << 30  # bytes


def ring_bytes(manifest):
    """Return the memory that streams a dataset and does not hold it."""
    planes = open_planes(manifest)
    ring, resident = StreamedPlanes.bytes_of(planes), ResidentPlanes.bytes_of(planes)
    assert ring < resident
    return ring


def fed(manifest, epoch=None, *, limit=None, grid_px=1, first=0, grouped=None, **settings):
    """Return (kind on the device, batches as (position, patches, input, target)) of a training.

    Without an `epoch` those of an evaluation of the test split.
    """
    settings = model_settings(**{"batch_size": 4, **settings})
    with Feed(manifest, settings, CPU, Processes(), grid_px, limit) as feed:
        grouped = feed.streams if grouped is None else grouped
        batches = (
            feed.evaluation_batches("test")
            if epoch is None
            else feed.training_batches(epoch, first, grouped=grouped)
        )
        kind = type(feed._on_device)
        return kind, [(b.position, b.patches, b.input.clone(), b.target.clone()) for b in batches]


def one_by_one(manifest, epoch=None, *, grid_px=1, batch_size=4):
    """Return the batches that `fed` returns, each patch read, turned and cut by itself."""
    split, seed = "test" if epoch is None else "train", model_settings()["seed"]
    batches = []
    with open_split(manifest, split) as reader:
        size_px, count = reader.patch_size_px, reader.n_patches
        order, codes = np.arange(count), np.zeros(count, np.uint8)
        shifts, cut_px = np.zeros((count, 2), int), size_px
        if epoch is not None:
            order = epoch_order(count, seed, epoch)
            codes = epoch_codes(count, seed, epoch, swap=model_settings()["swap_halves"])
            if grid_px > 1:
                shifts, cut_px = epoch_shifts(count, seed, epoch, grid_px), size_px - grid_px
        for position, first in enumerate(range(0, count, batch_size)):
            indices = order[first : first + batch_size]
            pairs = np.empty((2, len(indices), 1, size_px, size_px), reader.dtype)
            for row, i in enumerate(indices):
                reader.read_into(i, *pairs[:, row, 0])
            sides = turned(*torch.from_numpy(pairs), codes[indices])
            parts = [
                torch.stack(
                    [
                        patch[:, y : y + cut_px, x : x + cut_px].float()
                        for patch, (y, x) in zip(side, shifts[indices], strict=True)
                    ]
                )
                for side in sides
            ]
            batches.append((position, len(indices), *parts))
    return batches


def assert_same(one, other):
    assert len(one) == len(other) > 0
    for (position, patches, *sides), (other_position, other_patches, *others) in zip(
        one, other, strict=True
    ):
        assert (position, patches) == (other_position, other_patches)
        for side, counterpart in zip(sides, others, strict=True):
            assert side.dtype == counterpart.dtype == torch.float32
            assert torch.equal(side, counterpart)
