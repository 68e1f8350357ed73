"""Where a training with random offsets cuts its patches (patches.offsets, docs/formats.md)."""

import numpy as np

from clearice.model.epochs import random_bits

_STREAM = 4  # of random bits


class RandomPlaces:
    """The places of the patches of a split in each epoch, as many as there are on the grid.

    A patch lies somewhere between its place on the grid and its lower and right neighbours there,
    and does not move towards one that was not cut, as that would be mostly blank.
    """

    def __init__(self, reader):
        """`reader` is a PlaneReader of the split."""
        self._places = reader.places()
        rooms = [_rooms(reader, number) for number in range(len(reader.segments))]
        self._rooms = np.concatenate(rooms)

    def of_epoch(self, seed, epoch):
        """Return (y, x) of every patch, int64 (n_patches, 2)."""
        bits = random_bits(self._rooms.size, seed, epoch, _STREAM).reshape(self._rooms.shape)
        return self._places + (bits % self._rooms.astype(np.uint64)).astype(np.int64)


def _rooms(reader, number):
    """Return at how many places along y and x each patch of a segment may lie: (n, 2)."""
    record = reader.shard(reader.segments[number]["first_patch"])
    cut = set(reader.places_of(number))
    size, stride, cover = (record[k] for k in ("patch_size_px", "stride_px", "cover_border"))
    last = [record[key] - size for key in ("height_px", "width_px")]
    rooms = []
    for place in reader.places_of(number):
        steps = [_step(p, end, stride, cover) for p, end in zip(place, last, strict=True)]
        (y, x), (down, right) = place, steps
        room = [down if (y + down, x) in cut else 1, right if (y, x + right) in cut else 1]
        if min(room) > 1 and (y + down, x + right) not in cut:
            room[0] = 1
        rooms.append(room)
    return np.array(rooms, np.int64).reshape(-1, 2)


def _step(place, last, stride, cover_border):
    """Return how far the next place of the grid is, or would be."""
    return min(stride, last - place) if cover_border and place < last else stride
