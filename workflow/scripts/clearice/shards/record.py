"""A shard: the normalised patches of one micrograph, their targets, and a record of both.

Format: docs/formats.md, section Shard.
"""

import errno
import fcntl
import os
from pathlib import Path

import numpy as np
import xxhash

from clearice.errors import InputError
from clearice.files import atomic_path, read_json, write_json, xxh3_of_file
from clearice.shards.patches import ALIGNMENT_BYTES, PatchCutter

FORMAT_VERSION = 1
# fmt: off
_KEYS = [
    "format_version", "micrograph", "status", "reason", "warnings", "input", "target",
    "height_px", "width_px", "pixel_size_angstrom", "patch_size_px", "stride_px", "cover_border",
    "target_kind", "dtype", "n_patches", "y", "x", "mean", "std", "hot_pixels", "noise_floor",
    "half_correlation", "files",
]
# fmt: on
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


def write_patches(path, blocks, record):
    """Write the patches that `record` lists; return its entry of the file.

    `blocks` yields the rows of the image, float (b, W), in order. A record without patches
    makes an empty file.
    """
    n_patches, size_px = record["n_patches"], record["patch_size_px"]
    stored = storage_dtype(record["dtype"])
    patch_bytes = size_px * size_px * stored.itemsize
    with atomic_path(path) as temporary, PatchFile(temporary, n_patches, patch_bytes) as file:
        if n_patches:
            origins = np.stack([record["y"], record["x"]], axis=1)
            cutter = PatchCutter(record["width_px"], size_px, origins, stored, file.write)
            for rows in blocks:
                cutter.add(rows)
    return file.entry(path)


def storage_dtype(name):
    """Return the little-endian NumPy type of `dataset.dtype`."""
    return {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}[name]


def file_states(paths):
    """Return (bytes, time of change) of each file, None if absent: to tell whether one changed."""
    states = []
    for path in paths:
        try:
            status = os.stat(path)
            states.append((status.st_size, status.st_mtime_ns))
        except OSError:
            states.append(None)
    return states


def source_entry(path):
    """Return path, size and XXH3-64 of a source file; nulls where it cannot be read."""
    entry = {"path": os.fspath(path), "bytes": None, "xxh3": None}
    try:
        entry["bytes"] = os.stat(path).st_size
        entry["xxh3"] = xxh3_of_file(path)
    except OSError:
        pass
    return entry


def new_record(micrograph, patches, dtype, **facts):
    """Return a record with every key of the format; what is not in `facts` is null or empty."""
    record = dict.fromkeys(_KEYS)
    record.update(
        format_version=FORMAT_VERSION,
        micrograph=micrograph,
        status="ok",
        warnings=[],
        patch_size_px=patches["size_px"],
        stride_px=patches["stride_px"],
        cover_border=patches["cover_border"],
        target_kind=patches["target"],
        dtype=dtype,
        n_patches=0,
        y=[],
        x=[],
        hot_pixels=0,
    )
    unknown = set(facts) - set(_KEYS)
    if unknown:
        raise KeyError(f"not in a shard's record: {sorted(unknown)}")
    record.update(facts)
    return record


def write_record(path, record):
    """Write a shard's record; it is the last file of a shard to appear."""
    write_json(path, record)


def read_shard_record(path):
    """Return the record in `path` as a dict, or raise InputError where it is not one."""
    path = Path(path)
    try:
        record = read_json(path)
    except FileNotFoundError:
        raise InputError("no such shard record", file=path) from None
    except ValueError as error:
        raise InputError(
            f"not a shard record ({error})", file=path, advice="delete it and run again"
        ) from None
    if not isinstance(record, dict) or record.get("format_version") != FORMAT_VERSION:
        found = record.get("format_version") if isinstance(record, dict) else type(record).__name__
        raise InputError(
            "a shard record of another version",
            file=path,
            expected=f"format_version {FORMAT_VERSION}",
            found=found,
            advice="delete the shard and run again",
        )
    missing = [key for key in _KEYS if key not in record]
    if missing:
        raise InputError(
            "a shard record without " + ", ".join(missing),
            file=path,
            advice="delete the shard and run again",
        )
    return record
