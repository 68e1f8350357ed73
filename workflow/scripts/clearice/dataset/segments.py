"""The segments of a manifest: the patches of one micrograph, and where they are stored.

As patches one after the other, as the planes (whole normalised micrographs) that they are cut
from, or as both (docs/formats.md, Dataset). Light on purpose (no NumPy).
"""

import os
import typing
from pathlib import Path

import xxhash

SPLITS = ("train", "test")
SIDES = ("input", "target")
ITEM_BYTES = {"float32": 4, "float16": 2}


def patch_bytes(dtype, patch_size_px):
    """Return the bytes of one stored patch of (patch_size_px, patch_size_px) values."""
    return patch_size_px * patch_size_px * ITEM_BYTES[dtype]


def plane_bytes(dtype, planes):
    """Return the bytes of one stored plane; `planes` is that entry of a segment."""
    return planes["height_px"] * planes["width_px"] * ITEM_BYTES[dtype]


def new_segment(path, record, folder, first_patch, concatenated_as=None):
    """Return the segment of a shard (path of its json, and its content).

    `folder` is where the manifest lies, to which every path in it is relative. With
    `concatenated_as` (a split) the patches lie in {split}_input.bin and {split}_target.bin.
    """
    segment = {"micrograph": record["micrograph"]}
    step = patch_bytes(record["dtype"], record["patch_size_px"])
    for side in SIDES if has_patches(record) else ():
        file = record["files"][side]
        segment |= {
            f"{side}_file": f"{concatenated_as}_{side}.bin"
            if concatenated_as
            else _beside(path, file, folder),
            f"{side}_offset_bytes": first_patch * step if concatenated_as else 0,
            f"{side}_xxh3": file["xxh3"],
        }
    segment |= {"first_patch": first_patch, "n_patches": record["n_patches"]}
    segment |= {"shard": os.path.relpath(path, folder)}
    if has_planes(record):
        planes = {key: record[key] for key in ("height_px", "width_px")}
        for side in SIDES:
            file = record["files"][f"{side}_plane"]
            planes |= {f"{side}_file": _beside(path, file, folder), f"{side}_xxh3": file["xxh3"]}
        segment["planes"] = planes | {"places_xxh3": places_xxh3(record["y"], record["x"])}
    return segment


def _beside(path, file, folder):
    return os.path.relpath(Path(path).parent / file["path"], folder)


def has_patches(record):
    """Say whether a shard holds patches, by its record."""
    return "input" in record["files"]


def has_planes(record):
    """Say whether a shard holds planes, by its record."""
    return "input_plane" in record["files"]


def places_xxh3(ys, xs):
    """Return 16 hex digits over where patches lie: XXH3-64 over a line `{y}\\t{x}` for each."""
    lines = "".join(f"{y}\t{x}\n" for y, x in zip(ys, xs, strict=True))
    return xxhash.xxh3_64(lines.encode()).hexdigest()


def facts_of_record(record):
    """Return what names the patches of a shard, as facts_of_segment does."""
    files = record["files"]
    if has_patches(record):
        return record["n_patches"], *(files[side]["xxh3"] for side in SIDES)
    planes = (files[f"{side}_plane"]["xxh3"] for side in SIDES)
    return record["n_patches"], places_xxh3(record["y"], record["x"]), *planes


def facts_of_segment(segment):
    """Return what names the patches of a segment: their number, hashes of input and of target.

    Where only planes are stored those hashes are the planes', after that of the places.
    """
    if "input_xxh3" in segment:
        return segment["n_patches"], *(segment[f"{side}_xxh3"] for side in SIDES)
    planes = segment["planes"]
    hashes = (planes[f"{side}_xxh3"] for side in SIDES)
    return segment["n_patches"], planes["places_xxh3"], *hashes


def hashes_of_segment(segment):
    """Return name of a file, as in the record of the shard -> its XXH3-64 in the segment."""
    hashes = {side: segment[f"{side}_xxh3"] for side in SIDES if f"{side}_xxh3" in segment}
    if planes := segment.get("planes"):
        hashes |= {f"{side}_plane": planes[f"{side}_xxh3"] for side in SIDES}
    return hashes


class Span(typing.NamedTuple):
    """The bytes of a file that belong to a segment, their hash, and what they store."""

    file: str
    first_byte: int
    bytes: int
    xxh3: str
    micrograph: str
    stores: str  # patches | planes


def segment_spans(manifest, split):
    """Yield a Span for each piece of a file that the segments of a split name."""
    step = patch_bytes(manifest["dtype"], manifest["patch_size_px"])
    for segment in manifest["splits"][split]["segments"]:
        name, count = segment["micrograph"], segment["n_patches"] * step
        for side in SIDES if "input_file" in segment else ():
            file, offset = segment[f"{side}_file"], segment[f"{side}_offset_bytes"]
            yield Span(file, offset, count, segment[f"{side}_xxh3"], name, "patches")
        if planes := segment.get("planes"):
            count = plane_bytes(manifest["dtype"], planes)
            for side in SIDES:
                file, digest = planes[f"{side}_file"], planes[f"{side}_xxh3"]
                yield Span(file, 0, count, digest, name, "planes")
