"""The binaries of a shard: patches of input and of target, whole planes of them, or both; raw.

Format: docs/formats.md, section Shard.
"""

import contextlib
import errno
import fcntl
import os

import numpy as np
import xxhash

from clearice.files import atomic_path
from clearice.shards.patches import ALIGNMENT_BYTES, WRITE_BYTES, PatchCutter
from clearice.shards.planes import PlaneGatherer
from clearice.shards.record import PATCHES
from clearice.shards.scratch import by_way_of

DIRECT_BYTES = 1 << 26  # smaller files are better left in the page cache for the next step
_DIRECT = getattr(os, "O_DIRECT", 0)  # Linux only


class RawFile:
    """The raw little-endian values of one file, hashed while they are written, unbuffered.

    Large files go past the page cache (O_DIRECT) where the file system can: the kernel then
    copies nothing, and a cache that is better used by others, and counted against a job's
    memory on a cluster, stays as it is. Blocks must then be aligned, as those of PatchCutter and
    PlaneGatherer are; the last one need not be whole.
    """

    def __init__(self, path, n_blocks=0, block_bytes=1):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        whole_blocks = block_bytes % ALIGNMENT_BYTES == 0
        self._direct = _DIRECT if whole_blocks and n_blocks * block_bytes >= DIRECT_BYTES else 0
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

    def write(self, values):
        """Append a C-contiguous array."""
        view = memoryview(values).cast("B")
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


def write_side(paths, blocks, record, scratch=None):
    """Write one side of the shard that `record` describes; return name -> the file's entry.

    `paths` is name -> path, a name of PATCHES or of PLANES each: patches, the plane, or both at
    once. `blocks` yields the rows of the image, float (b, W), in order. A record without patches
    makes empty files. `scratch`: a folder that the files are first written to.
    """
    dtype, written, takers, ends = storage_dtype(record["dtype"]), {}, [], []
    with contextlib.ExitStack() as stack:
        for name, path in paths.items():
            temporary = stack.enter_context(atomic_path(path))
            place = stack.enter_context(by_way_of(scratch, temporary))
            n_blocks, block_bytes = _blocks_of(name, record, dtype)
            file = stack.enter_context(RawFile(place, n_blocks, block_bytes))
            written[name] = file
            if record["n_patches"] and name in PATCHES:
                origins = np.stack([record["y"], record["x"]], axis=1)
                cutter = record["width_px"], record["patch_size_px"], origins, dtype
                takers.append(PatchCutter(*cutter, file.write).add)
            elif record["n_patches"]:
                plane = PlaneGatherer(dtype, file.write)
                takers.append(plane.add)
                ends.append(plane.close)
        for rows in blocks if takers else ():
            for take in takers:
                take(rows)
        for end in ends:
            end()
    return {name: file.entry(paths[name]) for name, file in written.items()}


def _blocks_of(name, record, dtype):
    """Return (number, bytes) of the blocks that a file is written in."""
    if name in PATCHES:
        return record["n_patches"], record["patch_size_px"] ** 2 * dtype.itemsize
    pixels = record["height_px"] * record["width_px"] if record["n_patches"] else 0
    return pixels * dtype.itemsize // WRITE_BYTES, WRITE_BYTES


def storage_dtype(name):
    """Return the little-endian NumPy type of `dataset.dtype`."""
    return {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}[name]
