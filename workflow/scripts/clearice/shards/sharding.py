"""Cut one micrograph, or one pair of halves, into a shard of normalised patches.

Two passes over the rows: one for the statistics and the checks, one that normalises and cuts.
Memory holds one row of patches of input and of target, whatever the micrograph's height.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clearice.errors import InputError
from clearice.shards.binary import write_patches
from clearice.shards.record import file_states, new_record, source_entry, write_record
from clearice.shards.sides import images_of, side_rows, survey_sides

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
    **_only_for_the_workflow,
):
    """Write the shard of `micrograph`: two files of patches (n, size, size) and their record.

    `patches` holds the keys of that section of config.yaml; `pixel_size_angstrom` is what a table
    states, and is used in place of the header's. A bad micrograph leaves a record
    with status rejected and two empty files, or raises InputError with `on_error` stop.
    Returns path -> [(bytes, XXH3-64)] of the two.
    """
    allowed = {"halves": [True], "auto": [True, False]}.get(patches["target"], [False])
    if (target is not None) not in allowed:
        raise InputError(
            "a target half belongs to patches.target halves",
            file=input,
            expected="a target half" if target is None else "no target half",
            advice="set micrographs.halves, or another patches.target",
        )
    paths = [input] if target is None else [input, target]
    images, kind = images_of(paths, patches["target"])
    before = file_states(paths)
    with ThreadPoolExecutor(WORKERS) as pool:
        sources = dict(zip(("input", "target"), pool.map(source_entry, paths), strict=False))
        checks = {}  # what was measured stays in the record of a rejected micrograph
        try:
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
        writes = pool.map(write_patches, (input_bin, target_bin), rows, (new, new))
        new["files"] = dict(zip(("input", "target"), writes, strict=True))
    if file_states(paths) != before:
        raise InputError(
            "changed while it was read",
            file=" or ".join(paths),
            advice="run again when nothing writes to it any more",
        )
    write_record(record, new)
    files = new["files"]
    return {
        str(path): [(files[side]["bytes"], files[side]["xxh3"])]
        for side, path in (("input", input_bin), ("target", target_bin))
    }
