"""Reading the dataset: patch i of a split, through the manifest alone.

The same code reads concatenated binaries and shards that were left where they are. A further
layout (whole micrographs, patches cut while reading) is a further class in _READERS.
"""

import bisect
import os
from pathlib import Path

import numpy as np

from clearice.dataset.manifest import patch_bytes, read_manifest, segment_spans
from clearice.dataset.open_files import OpenFiles
from clearice.errors import InputError
from clearice.files import read_result
from clearice.wording import made_again


def open_split(manifest_path, split):
    """Return a reader of the patches of `split` ("train" or "test").

    Raises InputError for a bad manifest, or a file that is missing or shorter than the
    manifest says.
    """
    manifest = read_manifest(manifest_path)
    if split not in manifest["splits"]:
        raise InputError(
            "no such split",
            file=manifest_path,
            expected=" | ".join(manifest["splits"]),
            found=split,
        )
    return _READERS[manifest["layout"]](manifest, Path(manifest_path).parent, split)


class PatchReader:
    """Patches of one split: read(i) -> input and target, both (size, size).

    Any number of threads may read at once: every read names its own offset (preadv), no file
    position is shared. `n_patches`, `patch_size_px` and `dtype` (NumPy's, little-endian) say
    what there is.
    """

    def __init__(self, manifest, folder, split):
        content = manifest["splits"][split]
        self.n_patches = content["n_patches"]
        self.patch_size_px = manifest["patch_size_px"]
        self.dtype = np.dtype(manifest["dtype"]).newbyteorder("<")
        self._patch_bytes = patch_bytes(manifest["dtype"], self.patch_size_px)
        self._folder = Path(folder)
        self._segments = content["segments"]
        self._first_patches = [segment["first_patch"] for segment in self._segments]
        self._files, self._records = OpenFiles(self._folder), {}
        self._check_sizes(manifest, split)

    def _check_sizes(self, manifest, split):
        needed = {}
        for name, offset, count, *_ in segment_spans(manifest, split):
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

    def read_into(self, i, input_patch, target_patch):
        """Read patch `i` into two C-contiguous arrays (size, size) of `dtype`, without a copy.

        None for one of them leaves it out, so that two threads can read the sides of a patch.
        Raises IndexError for a patch that does not exist, ValueError for arrays that don't fit.
        """
        segment = self._segments[self._segment_of(i)]
        offset = (i - segment["first_patch"]) * self._patch_bytes
        for side, patch in (("input", input_patch), ("target", target_patch)):
            if patch is None:
                continue
            if patch.dtype != self.dtype or patch.nbytes != self._patch_bytes:
                raise ValueError(f"needs {self.dtype} of {self._patch_bytes} bytes per patch")
            buffer = memoryview(patch).cast("B")  # refuses arrays that are not contiguous
            self._fill(segment[f"{side}_file"], segment[f"{side}_offset_bytes"] + offset, buffer)

    def read_rows(self, i, side, first, count):
        """Return `count` rows, from row `first` on, of one side of patch `i`: (count, size).

        `side` is "input" or "target". For a look at many patches that need not be read whole.
        """
        if not 0 <= first <= first + count <= self.patch_size_px:
            raise IndexError(f"rows {first} to {first + count} of {self.patch_size_px}")
        segment = self._segments[self._segment_of(i)]
        rows = np.empty((count, self.patch_size_px), self.dtype)
        offset = (i - segment["first_patch"]) * self._patch_bytes
        offset += first * self.patch_size_px * self.dtype.itemsize
        offset += segment[f"{side}_offset_bytes"]
        self._fill(segment[f"{side}_file"], offset, memoryview(rows).cast("B"))
        return rows

    def where(self, i):
        """Return (micrograph, y, x) of patch `i`: its upper left pixel in the micrograph."""
        segment, record = self._segments[self._segment_of(i)], self.shard(i)
        k = i - segment["first_patch"]
        return segment["micrograph"], record["y"][k], record["x"][k]

    def index_of(self, micrograph, y, x):
        """Return the index of the patch at (y, x) of a micrograph; None if it was not cut."""
        for segment in self._segments:
            if segment["micrograph"] == micrograph and segment["n_patches"]:
                record = self.shard(segment["first_patch"])
                places = zip(record["y"], record["x"], strict=True)
                found = [k for k, place in enumerate(places) if place == (y, x)]
                return segment["first_patch"] + found[0] if found else None
        return None

    def shard(self, i):
        """Return the record of the shard that patch `i` was cut into (docs/formats.md)."""
        index = self._segment_of(i)
        if index not in self._records:
            self._records[index] = read_result(self._folder / self._segments[index]["shard"])
        return self._records[index]

    def _segment_of(self, i):
        if not 0 <= i < self.n_patches:
            raise IndexError(f"patch {i} of {self.n_patches}")
        return bisect.bisect_right(self._first_patches, i) - 1

    def _fill(self, name, offset, buffer):
        with self._files.opened(name) as descriptor:
            while buffer:
                count = os.preadv(descriptor, [buffer], offset)  # may stop short of what was asked
                if count == 0:
                    raise InputError("was cut short while in use", file=self._folder / name)
                buffer, offset = buffer[count:], offset + count


_READERS = {"patches": PatchReader}
