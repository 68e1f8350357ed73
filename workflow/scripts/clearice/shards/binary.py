"""The binaries of a shard: patches of input and of target, raw, in the order of its record.

Format: docs/formats.md, section Shard.
"""

import errno
import fcntl
import os

import numpy as np
import xxhash

from clearice.files import atomic_path
from clearice.shards.patches import ALIGNMENT_BYTES, PatchCutter
from clearice.shards.scratch import by_way_of

DIRECT_BYTES = 1 << 26  # smaller files are better left in the page cache for the next step
_DIRECT = getattr(os, "O_DIRECT", 0)  # Linux only


class PatchFile:
    """The raw little-endian patches of one file, hashed while they are written, unbuffered.

    Large files go past the page cache (O_DIRECT) where the file system can: the kernel then
    copies nothing, and a cache that is better used by others, and counted against a job's
    memory on a cluster, stays as it is. Blocks must then be aligned, as PatchCutter's are.
    """

    def __init__(self, path, n_patches=0, patch_bytes=1):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        whole_blocks = patch_bytes % ALIGNMENT_BYTES == 0
        self._direct = _DIRECT if whole_blocks and n_patches * patch_bytes >= DIRECT_BYTES else 0
        try:
            self._descriptor = os.open(path, flags | self._direct, 0o666)
        except OSError as error:
            if error.errno != errno.EINVAL or not self._direct:
                raise
            self._direct = 0  # this file system has no direct writes
            self._descriptor = os.open(path, flags, 0o666)
        self._digest = xxhash.xxh3_64()
        self._n_bytes = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._descriptor)

    def write(self, patches):
        """Append a C-contiguous array."""
        view = memoryview(patches).cast("B")
        self._digest.update(view)
        self._n_bytes += len(view)
        while view:
            view = view[self._write_some(view) :]

    def _write_some(self, view):
        try:
            return os.write(self._descriptor, view)
        except OSError as error:
            if error.errno != errno.EINVAL or not self._direct:
                raise
        # opened directly but not written so, or a remainder that is no whole block
        fcntl.fcntl(
            self._descriptor,
            fcntl.F_SETFL,
            fcntl.fcntl(self._descriptor, fcntl.F_GETFL) & ~self._direct,
        )
        self._direct = 0
        return os.write(self._descriptor, view)

    def entry(self, path):
        """Return the record's entry of the file, under its final name `path`."""
        name = os.path.basename(path)
        return {"path": name, "bytes": self._n_bytes, "xxh3": self._digest.hexdigest()}


def write_patches(path, blocks, record, scratch=None):
    """Write the patches that `record` lists; return its entry of the file.

    `blocks` yields the rows of the image, float (b, W), in order. A record without patches
    makes an empty file. `scratch`: a folder that the patches are first written to.
    """
    n_patches, size_px = record["n_patches"], record["patch_size_px"]
    stored = storage_dtype(record["dtype"])
    patch_bytes = size_px * size_px * stored.itemsize
    with (
        atomic_path(path) as temporary,
        by_way_of(scratch, temporary) as place,
        PatchFile(place, n_patches, patch_bytes) as file,
    ):
        if n_patches:
            origins = np.stack([record["y"], record["x"]], axis=1)
            cutter = PatchCutter(record["width_px"], size_px, origins, stored, file.write)
            for rows in blocks:
                cutter.add(rows)
    return file.entry(path)


def storage_dtype(name):
    """Return the little-endian NumPy type of `dataset.dtype`."""
    return {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}[name]
