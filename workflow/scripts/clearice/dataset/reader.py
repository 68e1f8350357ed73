"""Reading the dataset: patch i of a split, through the manifest alone.

The same code reads concatenated binaries and shards that were left where they are. Patches that
are cut from planes while they are read: plane_reader.py.
"""

from pathlib import Path

import numpy as np

from clearice.dataset.manifest import read_manifest
from clearice.dataset.plane_reader import PlaneReader
from clearice.dataset.segments import SPLITS, segment_spans
from clearice.dataset.split_reader import SplitReader
from clearice.errors import InputError


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


def open_planes(manifest_path):
    """Return split -> PlaneReader of a dataset that stores planes, None for one that does not.

    Planes that are all absent beside patches (a dataset that was copied alone) are as if not
    stored, unless patches are to be cut anew from them. Raises InputError for a damaged dataset.
    """
    manifest, folder = read_manifest(manifest_path), Path(manifest_path).parent
    spans = [span for split in SPLITS for span in segment_spans(manifest, split)]
    files = {span.file for span in spans if span.stores == "planes"}
    needed = manifest["layout"] == "planes" or manifest.get("offsets") == "random"
    if not files or not (needed or any((folder / name).is_file() for name in files)):
        return None
    return {split: PlaneReader(manifest, folder, split) for split in SPLITS}


class PatchReader(SplitReader):
    """Reads patches that are stored as they are."""

    def __init__(self, manifest, folder, split):
        super().__init__(manifest, folder, split)
        spans = segment_spans(manifest, split)
        self._check_sizes(span for span in spans if span.stores == "patches")

    def read_into(self, i, input_patch, target_patch):
        """Read patch `i` into two C-contiguous arrays (size, size) of `dtype`, without a copy.

        None for one of them leaves it out, so that two threads can read the sides of a patch.
        Raises IndexError for a patch that does not exist, ValueError for arrays that don't fit.
        """
        segment = self.segments[self.segment_of(i)]
        offset = (i - segment["first_patch"]) * self._patch_bytes
        for side, patch in (("input", input_patch), ("target", target_patch)):
            if patch is not None:
                start = segment[f"{side}_offset_bytes"] + offset
                self.fill(segment[f"{side}_file"], start, self._checked(patch))

    def read_rows(self, i, side, first, count):
        """Return `count` rows, from row `first` on, of one side of patch `i`: (count, size).

        `side` is "input" or "target". For a look at many patches that need not be read whole.
        """
        self._check_rows(first, count)
        segment = self.segments[self.segment_of(i)]
        rows = np.empty((count, self.patch_size_px), self.dtype)
        offset = (i - segment["first_patch"]) * self._patch_bytes
        offset += first * self.patch_size_px * self.dtype.itemsize
        offset += segment[f"{side}_offset_bytes"]
        self.fill(segment[f"{side}_file"], offset, memoryview(rows).cast("B"))
        return rows


_READERS = {"patches": PatchReader, "planes": PlaneReader}
