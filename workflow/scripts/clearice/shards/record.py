"""The record of a shard: where its patches come from, where they lie, or why there are none.

Format: docs/formats.md, section Shard.
"""

import os
from pathlib import Path

from clearice.errors import InputError
from clearice.files import read_json, write_json, xxh3_of_file
from clearice.wording import made_again

FORMAT_VERSION = 2
# Names of the files of a shard, by side: patches one after the other, and the whole planes.
PATCHES = {"input": "input.bin", "target": "target.bin"}
PLANES = {"input_plane": "input.plane", "target_plane": "target.plane"}
FILES = PATCHES | PLANES  # name in a record -> what follows the micrograph's key
LAYOUTS = {"patches": PATCHES, "planes": PLANES, "both": FILES}  # by dataset.layout


def concatenates(section):
    """Say whether the patches of the shards are copied into files of the dataset.

    `section` is config.yaml's `dataset`. Planes are read where they lie.
    """
    return section["concatenate"] and section["layout"] != "planes"


# fmt: off
_KEYS = [
    "format_version", "micrograph", "status", "reason", "warnings", "checks", "input", "target",
    "height_px", "width_px", "pixel_size_angstrom", "patch_size_px", "stride_px", "cover_border",
    "target_kind", "dtype", "n_patches", "y", "x", "mean", "std", "minimum", "maximum",
    "hot_pixels", "noise_floor", "half_correlation", "files",
]
# fmt: on


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
    """Return path, size and XXH3-64 of a source file; nulls where it cannot be read.

    `pixels_xxh3` is null until the pixels have been read.
    """
    entry = {"path": os.fspath(path), "bytes": None, "xxh3": None, "pixels_xxh3": None}
    try:
        entry["bytes"] = os.stat(path).st_size
        entry["xxh3"] = xxh3_of_file(path)
    except (OSError, InputError):
        pass
    return entry


def new_record(micrograph, patches, target_kind, dtype, **facts):
    """Return a record with every key of the format; what is not in `facts` is null or empty."""
    record = dict.fromkeys(_KEYS)
    record.update(
        format_version=FORMAT_VERSION,
        micrograph=micrograph,
        status="ok",
        warnings=[],
        checks={},
        patch_size_px=patches["size_px"],
        stride_px=patches["stride_px"],
        cover_border=patches["cover_border"],
        target_kind=target_kind,
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
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"not a shard record ({error})", file=path, advice=made_again(path)
        ) from None
    if not isinstance(record, dict) or record.get("format_version") != FORMAT_VERSION:
        found = record.get("format_version") if isinstance(record, dict) else type(record).__name__
        raise InputError(
            "a shard record of another version",
            file=path,
            expected=f"format_version {FORMAT_VERSION}",
            found=found,
            advice=made_again(path),
        )
    missing = [key for key in _KEYS if key not in record]
    if missing:
        raise InputError(
            "a shard record without " + ", ".join(missing),
            file=path,
            advice=made_again(path),
        )
    return record
