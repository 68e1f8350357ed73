"""What a training is fed with from planes, on a CPU, for the tests of where they lie."""

import torch

from clearice.dataset.reader import open_planes
from clearice.model.distributed import Processes
from clearice.model.feed import Feed
from clearice.model.planes.residency import ResidentPlanes, StreamedPlanes
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


def assert_same(one, other):
    assert len(one) == len(other) > 0
    for (position, patches, *sides), (other_position, other_patches, *others) in zip(
        one, other, strict=True
    ):
        assert (position, patches) == (other_position, other_patches)
        for side, counterpart in zip(sides, others, strict=True):
            assert side.dtype == counterpart.dtype == torch.float32
            assert torch.equal(side, counterpart)
