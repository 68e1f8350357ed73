"""Patches that are cut from planes (whole normalised micrographs) while they are read."""

import numpy as np

from clearice.dataset.segments import SIDES, places_xxh3, plane_bytes, segment_spans
from clearice.dataset.split_reader import SplitReader
from clearice.errors import InputError
from clearice.wording import made_again


class PlaneReader(SplitReader):
    """Reads patches out of planes; patch i is the one that a PatchReader would return."""

    def __init__(self, manifest, folder, split):
        super().__init__(manifest, folder, split)
        self._all_places = None
        self._places = {}  # number of a segment -> (y, x) of its patches, once they were asked for
        spans = segment_spans(manifest, split)
        self._check_sizes(span for span in spans if span.stores == "planes")

    def read_into(self, i, input_patch, target_patch, at=None):
        """Read patch `i` into two C-contiguous arrays (size, size) of `dtype`.

        None for one of them leaves it out. `at` is another place in the same micrograph, (y, x).
        Raises IndexError for a patch that does not exist, ValueError for arrays that don't fit.
        """
        y, x = self.place(i) if at is None else at
        planes, size = self.segments[self.segment_of(i)]["planes"], self.patch_size_px
        if not (0 <= y <= planes["height_px"] - size and 0 <= x <= planes["width_px"] - size):
            raise IndexError(f"patch {i}: no patch at y {y}, x {x}")
        for side, patch in zip(SIDES, (input_patch, target_patch), strict=True):
            if patch is not None:
                self._checked(patch)
                self._cut(planes, side, y, x, patch.reshape(size, size))

    def read_rows(self, i, side, first, count):
        """Return `count` rows, from row `first` on, of one side of patch `i`: (count, size).

        `side` is "input" or "target".
        """
        self._check_rows(first, count)
        (y, x), planes = self.place(i), self.segments[self.segment_of(i)]["planes"]
        rows = np.empty((count, self.patch_size_px), self.dtype)
        self._cut(planes, side, y + first, x, rows)
        return rows

    def place(self, i):
        """Return (y, x) of patch `i`: its upper left pixel in the micrograph."""
        return tuple(self.places_of(self.segment_of(i))[i - self._first_of(i)])

    def places(self):
        """Return (y, x) of every patch, int64 (n_patches, 2); kept, and not to be written to."""
        if self._all_places is None:
            parts = [self.places_of(number) for number in range(len(self.segments))]
            self._all_places = np.array([place for part in parts for place in part], np.int64)
        return self._all_places

    def places_of(self, number):
        """Return (y, x) of the patches of a segment, in their order: a list of tuples.

        Raises InputError for a record of its shard that is not the manifest's.
        """
        if number not in self._places:
            segment = self.segments[number]
            record = self.shard(segment["first_patch"])
            places = record["y"], record["x"]
            found = places_xxh3(*places) if len(places[0]) == len(places[1]) else None
            if found != segment["planes"]["places_xxh3"]:
                path = self._folder / segment["shard"]
                raise InputError(
                    "names other places of patches than the manifest",
                    file=path,
                    expected=f"places_xxh3 {segment['planes']['places_xxh3']}",
                    found=found,
                    advice=made_again(path),
                )
            self._places[number] = list(zip(*places, strict=True))
        return self._places[number]

    def read_plane(self, number, side, first_byte, buffer):
        """Read the plane of a segment from a byte on into all of `buffer`, a memoryview."""
        self.fill(self.segments[number]["planes"][f"{side}_file"], first_byte, buffer)

    def segments_of(self, indices):
        """Return the number of the segment of each of the patches `indices`: int64 (n,)."""
        return np.searchsorted(self._first_patches, indices, side="right") - 1

    def plane_bytes(self, number):
        """Return the bytes of each of the two planes of a segment."""
        return plane_bytes(self.dtype.name, self.segments[number]["planes"])

    def _first_of(self, i):
        return self._first_patches[self.segment_of(i)]

    def _cut(self, planes, side, y, x, out):
        """Fill `out`, (count, size), with the rows of a plane from row `y` and column `x` on.

        A read for each row: whole rows in one read are several times the bytes, and slower.
        """
        row_bytes = planes["width_px"] * self.dtype.itemsize
        first = y * row_bytes + x * self.dtype.itemsize
        offsets = range(first, first + len(out) * row_bytes, row_bytes)
        self.fill_rows(planes[f"{side}_file"], offsets, memoryview(out).cast("B"))


class MovedPatches:
    """A view of a PlaneReader for the patches of one epoch, cut at other places."""

    def __init__(self, reader, places):
        self._reader, self._places = reader, places

    def read_into(self, i, input_patch, target_patch):
        """Read patch `i` as PlaneReader.read_into does."""
        self._reader.read_into(i, input_patch, target_patch, at=self._places[i].tolist())
