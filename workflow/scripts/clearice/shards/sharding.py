"""Cut one micrograph, or one pair of halves, into a shard: normalised patches, planes, or both.

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
from clearice.shards.binary import write_side
from clearice.shards.record import (
    FILES,
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
    record,
    micrograph,
    patches,
    input_bin=None,
    target_bin=None,
    input_plane=None,
    target_plane=None,
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
    """Write the shard of `micrograph`: its binaries and their record.

    Two files of patches (n, size, size), `input_bin` and `target_bin`, two of whole planes
    (height, width), `input_plane` and `target_plane`, or all four; those of the shard that are
    not asked for are removed. `patches` holds the keys of that section of config.yaml;
    `pixel_size_angstrom` is what a table states, and is used in place of the header's.

    A bad micrograph leaves a record with status rejected and empty files, or raises InputError
    with `on_error` stop. So does one that is `set_aside`, for that reason and unopened, and with
    `was_there` (when the run began) one that vanished. One that is still being written leaves such
    a record in any case: it was changed since it had `states` (waiting.file_state), or is
    unfinished and was changed in the last `settle_minutes` (0: is rejected, as any other).
    `scratch` names a folder of the node that binaries are first written to.
    Returns path -> [(bytes, XXH3-64)] of the binaries.
    """
    paths = [input] if target is None else [input, target]
    binaries = {"input": input_bin, "target": target_bin}
    binaries |= {"input_plane": input_plane, "target_plane": target_plane}
    binaries = {name: path for name, path in binaries.items() if path is not None}
    shard = paths, binaries, record, micrograph, patches, dtype
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
        _remove_others(record, binaries)
        rows = side_rows(images, limits, new, patches)
        sides = [_of_side(side, binaries) for side in ("input", "target")]
        writes = pool.map(write_side, sides, rows, [new] * 2, [scratch] * 2)
        new["files"] = {name: entry for written in writes for name, entry in written.items()}
    if file_states(paths) != before and not set_aside:
        raise UnfinishedError(
            "changed while it was read",
            file=" or ".join(paths),
            advice="run again when nothing writes to it any more",
        )
    write_record(record, new)
    files = new["files"]
    return {str(path): [(files[n]["bytes"], files[n]["xxh3"])] for n, path in binaries.items()}


def _of_side(side, binaries):
    return {name: path for name, path in binaries.items() if name.split("_")[0] == side}


def _remove_others(record, binaries):
    """Remove the binaries of another dataset.layout, which the new record does not name."""
    for name in FILES.keys() - binaries.keys():
        Path(record).with_name(f"{Path(record).name.removesuffix('.json')}.{FILES[name]}").unlink(
            missing_ok=True
        )
