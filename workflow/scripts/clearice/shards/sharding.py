"""Cut one micrograph, or one pair of halves, into a shard of normalised patches.

Two passes over the rows: one for the statistics and the checks, one that normalises and cuts.
Memory holds one row of patches of input and of target, whatever the micrograph's height.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clearice.errors import InputError
from clearice.shards.binary import write_patches
from clearice.shards.record import (
    VANISHED,
    file_states,
    new_record,
    source_entry,
    write_record,
)
from clearice.shards.scratch import scratch_folder
from clearice.shards.sides import images_of, side_rows, survey_sides
from clearice.shared_heap import share_heap

WORKERS = 2  # one per side: NumPy, hashing and writing release the interpreter lock


def shard_micrograph(
    input,
    input_bin,
    target_bin,
    record,
    micrograph,
    patches,
    dtype="float32",
    on_error="skip",
    target=None,
    pixel_size_angstrom=None,
    set_aside=None,
    was_there=False,
    scratch=None,
    **_only_for_the_workflow,
):
    """Write the shard of `micrograph`: two files of patches (n, size, size) and their record.

    `patches` holds the keys of that section of config.yaml; `pixel_size_angstrom` is what a table
    states, and is used in place of the header's. A bad micrograph leaves a record
    with status rejected and two empty files, or raises InputError with `on_error` stop. So does
    one that is `set_aside`, for that reason and unopened, and with `was_there` (when the run began)
    one that vanished. `scratch` names a folder of the node that patches are first written to.
    Returns path -> [(bytes, XXH3-64)] of the two.
    """
    paths = [input] if target is None else [input, target]
    shard = paths, (input_bin, target_bin), record, micrograph, patches, dtype
    shard += (scratch_folder(scratch),)
    if was_there and not set_aside:
        set_aside = _vanished(paths)
    try:
        return _cut(*shard, pixel_size_angstrom, on_error, set_aside)
    except InputError:
        if set_aside or on_error == "stop" or not was_there or not _vanished(paths):
            raise
        return _cut(*shard, pixel_size_angstrom, on_error, VANISHED)


def _vanished(paths):
    return None if all(map(os.path.lexists, paths)) else VANISHED


def _cut(
    paths,
    binaries,
    record,
    micrograph,
    patches,
    dtype,
    scratch,
    pixel_size_angstrom,
    on_error,
    set_aside,
):
    allowed = {"halves": [2], "auto": [1, 2]}.get(patches["target"], [1])
    if not set_aside and len(paths) not in allowed:
        raise InputError(
            "a target half belongs to patches.target halves",
            file=paths[0],
            expected="a target half" if len(paths) == 1 else "no target half",
            advice="set micrographs.halves, or another patches.target",
        )
    images, kind = images_of(paths, patches["target"])
    before = file_states(paths)
    share_heap()
    with ThreadPoolExecutor(WORKERS) as pool:
        sources = dict(zip(("input", "target"), pool.map(source_entry, paths), strict=False))
        checks = {}  # what was measured stays in the record of a rejected micrograph
        try:
            if set_aside:
                raise InputError(set_aside)
            facts, limits, digests = survey_sides(
                pool, images, patches, dtype, checks, pixel_size_angstrom
            )
            for source, digest in zip(sources.values(), digests, strict=True):
                source["pixels_xxh3"] = digest
        except InputError as error:
            if on_error == "stop":
                raise
            print(f"rejected: {error}", file=sys.stderr)
            facts, limits = {"status": "rejected", "reason": str(error)}, []
        new = new_record(micrograph, patches, kind, dtype, checks=checks, **sources, **facts)
        Path(record).unlink(missing_ok=True)  # it comes last: until then there is no shard
        rows = side_rows(images, limits, new, patches)
        writes = pool.map(write_patches, binaries, rows, [new] * 2, [scratch] * 2)
        new["files"] = dict(zip(("input", "target"), writes, strict=True))
    if file_states(paths) != before and not set_aside:
        raise InputError(
            "changed while it was read",
            file=" or ".join(paths),
            advice="run again when nothing writes to it any more",
        )
    write_record(record, new)
    files = new["files"]
    return {
        str(path): [(files[side]["bytes"], files[side]["xxh3"])]
        for side, path in zip(("input", "target"), binaries, strict=True)
    }
