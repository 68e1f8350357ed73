"""What all readers of a split share: its patches by number, where they lie, its open files."""

import bisect
import os
from pathlib import Path

import numpy as np

from clearice.dataset.open_files import OpenFiles
from clearice.dataset.segments import patch_bytes
from clearice.errors import InputError
from clearice.files import read_result
from clearice.wording import made_again


class SplitReader:
    """Patches of one split: read(i) -> input and target, both (size, size).

    Any number of threads may read at once: every read names its own offset (preadv), no file
    position is shared. `n_patches`, `patch_size_px` and `dtype` (NumPy's, little-endian) say
    what there is. How patches are stored is a subclass's: it has read_into and read_rows.
    """

    def __init__(self, manifest, folder, split):
        content = manifest["splits"][split]
        self.n_patches = content["n_patches"]
        self.patch_size_px = manifest["patch_size_px"]
        self.dtype = np.dtype(manifest["dtype"]).newbyteorder("<")
        self._patch_bytes = patch_bytes(manifest["dtype"], self.patch_size_px)
        self._folder = Path(folder)
        self.segments = content["segments"]
        self._first_patches = [segment["first_patch"] for segment in self.segments]
        self._files, self._records = OpenFiles(self._folder), {}

    def _check_sizes(self, spans):
        """Raise InputError for a file that is missing or ends before the last of its `spans`.

        `spans` yields (file, first byte, bytes, ...), as segments.segment_spans does.
        """
        needed = {}
        for name, offset, count, *_ in spans:
            needed[name] = max(needed.get(name, 0), offset + count)
        for name, size in needed.items():
            path = self._folder / name
            if not path.is_file():
                raise InputError("no such file", file=path, advice="run again: it is made then")
            if path.stat().st_size < size:
                raise InputError(
                    "shorter than the manifest says",
                    file=path,
                    expected=f"{size} bytes",
                    found=path.stat().st_size,
                    advice=made_again(path),
                )

    def __len__(self):
        return self.n_patches

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Close every file; no thread may be reading."""
        self._files.close()

    def read(self, i):
        """Return (input, target) of patch `i`: new arrays of shape (size, size) and `dtype`."""
        shape = (self.patch_size_px, self.patch_size_px)
        pair = np.empty(shape, self.dtype), np.empty(shape, self.dtype)
        self.read_into(i, *pair)
        return pair

    def where(self, i):
        """Return (micrograph, y, x) of patch `i`: its upper left pixel in the micrograph."""
        segment, record = self.segments[self.segment_of(i)], self.shard(i)
        k = i - segment["first_patch"]
        return segment["micrograph"], record["y"][k], record["x"][k]

    def index_of(self, micrograph, y, x):
        """Return the index of the patch at (y, x) of a micrograph; None if it was not cut."""
        for segment in self.segments:
            if segment["micrograph"] == micrograph and segment["n_patches"]:
                record = self.shard(segment["first_patch"])
                places = zip(record["y"], record["x"], strict=True)
                found = [k for k, place in enumerate(places) if place == (y, x)]
                return segment["first_patch"] + found[0] if found else None
        return None

    def shard(self, i):
        """Return the record of the shard that patch `i` was cut into (docs/formats.md)."""
        index = self.segment_of(i)
        if index not in self._records:
            self._records[index] = read_result(self._folder / self.segments[index]["shard"])
        return self._records[index]

    def segment_of(self, i):
        """Return the number of the segment, in `segments`, that patch `i` belongs to."""
        if not 0 <= i < self.n_patches:
            raise IndexError(f"patch {i} of {self.n_patches}")
        return bisect.bisect_right(self._first_patches, i) - 1

    def _checked(self, patch):
        """Return the bytes of an array to be filled: C-contiguous, of one patch and our dtype."""
        if patch.dtype != self.dtype or patch.nbytes != self._patch_bytes:
            raise ValueError(f"needs {self.dtype} of {self._patch_bytes} bytes per patch")
        return memoryview(patch).cast("B")  # refuses arrays that are not contiguous

    def _check_rows(self, first, count):
        if not 0 <= first <= first + count <= self.patch_size_px:
            raise IndexError(f"rows {first} to {first + count} of {self.patch_size_px}")

    def fill(self, name, offset, buffer):
        """Read a file from byte `offset` on into all of `buffer`, a memoryview of bytes."""
        self.fill_rows(name, [offset], buffer)

    def fill_rows(self, name, offsets, buffer):
        """Read as many bytes of a file from each of `offsets` on, into all of `buffer`."""
        count = len(buffer) // len(offsets)
        with self._files.opened(name) as descriptor:
            for number, offset in enumerate(offsets):
                row = buffer[number * count : (number + 1) * count]
                while row:
                    done = os.preadv(descriptor, [row], offset)  # may stop short of what was asked
                    if done == 0:
                        raise InputError("was cut short while in use", file=self._folder / name)
                    row, offset = row[done:], offset + done
