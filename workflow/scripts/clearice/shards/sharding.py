"""Cut one micrograph, or one pair of halves, into a shard of normalised patches.

Two passes over the rows: one for the statistics and the checks, one that normalises and cuts.
Memory holds one row of patches of input and of target, whatever the micrograph's height.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clearice.errors import InputError, UnfinishedError
from clearice.micrographs.waiting import (
    REASONS,
    STILL_WRITTEN,
    VANISHED,
    Clock,
    file_state,
    file_status,
)
from clearice.shards.binary import write_patches
from clearice.shards.record import (
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
    states=(),
    settle_minutes=0,
    **_only_for_the_workflow,
):
    """Write the shard of `micrograph`: two files of patches (n, size, size) and their record.

    `patches` holds the keys of that section of config.yaml; `pixel_size_angstrom` is what a table
    states, and is used in place of the header's. A bad micrograph leaves a record
    with status rejected and two empty files, or raises InputError with `on_error` stop. So does
    one that is `set_aside`, for that reason and unopened, and with `was_there` (when the run began)
    one that vanished. One that is still being written leaves such a record in any case: it was
    changed since it had `states` (waiting.file_state), or is unfinished and was changed in the last
    `settle_minutes` (0: is rejected, as any other). `scratch` names a folder of
    the node that patches are first written to.
    Returns path -> [(bytes, XXH3-64)] of the two.
    """
    paths = [input] if target is None else [input, target]
    shard = paths, (input_bin, target_bin), record, micrograph, patches, dtype
    shard += (scratch_folder(scratch),)
    if was_there and not set_aside:
        set_aside = _vanished(paths)

    def is_written(error):
        return was_there and _is_written(error, paths, states, settle_minutes)

    try:
        return _cut(*shard, pixel_size_angstrom, on_error, set_aside, is_written)
    except InputError as error:
        if set_aside or not was_there:
            raise
        if on_error != "stop" and _vanished(paths):
            return _cut(*shard, pixel_size_angstrom, on_error, VANISHED)
        if not is_written(error):
            raise
        print(f"{STILL_WRITTEN}: {error}", file=sys.stderr)
        return _cut(*shard, pixel_size_angstrom, on_error, STILL_WRITTEN)


def _vanished(paths):
    return None if all(map(os.path.lexists, paths)) else VANISHED


def _is_written(error, paths, states, settle_minutes):
    """Say whether a micrograph failed because something still writes to it."""
    if not settle_minutes or _vanished(paths):
        return False
    now = {path: file_status(path) for path in paths}
    if [file_state(status) for status in now.values() if status] != list(states):
        return True
    if not isinstance(error, UnfinishedError) or error.file not in now:
        return False
    return Clock().is_young(now[error.file], settle_minutes)


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
    is_written=lambda error: False,
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
            reason = STILL_WRITTEN if not set_aside and is_written(error) else str(error)
            if on_error == "stop" and reason != STILL_WRITTEN:
                raise
            print(f"{'waits' if reason in REASONS else 'rejected'}: {error}", file=sys.stderr)
            facts, limits = {"status": "rejected", "reason": reason}, []
        new = new_record(micrograph, patches, kind, dtype, checks=checks, **sources, **facts)
        Path(record).unlink(missing_ok=True)  # it comes last: until then there is no shard
        rows = side_rows(images, limits, new, patches)
        writes = pool.map(write_patches, binaries, rows, [new] * 2, [scratch] * 2)
        new["files"] = dict(zip(("input", "target"), writes, strict=True))
    if file_states(paths) != before and not set_aside:
        raise UnfinishedError(
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
