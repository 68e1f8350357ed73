"""Concatenate the shards of one split, or only list them where they lie."""

from pathlib import Path

from clearice.bridge import run_job
from clearice.dataset.copying import check_shard
from clearice.dataset.manifest import split_part
from clearice.dataset.segments import SIDES
from clearice.dataset.store import full_disk_is_one_line, grow, publish, sorted_by_name
from clearice.files import write_json
from clearice.seals import aside_of
from clearice.shards.record import read_shard_record


def concatenate_shards(
    records,
    input_bins,
    target_bins,
    segments,
    split,
    input_bin=None,
    target_bin=None,
    **_only_for_the_workflow,
):
    """Write the split's binaries and `segments`, the split's part of the manifest (json).

    `records`: paths of the shards' json, beside which lie the binaries that they name
    (`input_bins`, `target_bins` and `planes`, listed for Snakemake to wait for). Without
    `input_bin` and `target_bin` nothing is copied, the segments point at the shards, and older
    binaries are removed. Returns path -> [(bytes, XXH3-64, micrograph), ...] of the binaries.
    """
    shards = [(path, read_shard_record(path)) for path in records]
    folder = Path(segments).parent
    store = folder / ".store"
    with full_disk_is_one_line(folder):
        if input_bin is None:
            for side in SIDES:
                (folder / f"{split}_{side}.bin").unlink(missing_ok=True)
            write_json(segments, split_part(checked(shards), folder))
            if store.exists():
                print(
                    f"{store} is not used with dataset.concatenate: false, nor with planes alone; "
                    "delete it to free space"
                )
            return None
        stamp = folder / f"concatenate_shards.{split}.benchmark.tsv"
        damaged = any(aside_of(path).exists() for path in (input_bin, target_bin))
        shards = grow(store, split, shards, stamp, distrusted=damaged)
        publish(store, split, "input", input_bin)
        publish(store, split, "target", target_bin)
        write_json(segments, split_part(shards, folder, concatenated_as=split))
    return {
        str(path): [
            (record["files"][side]["bytes"], record["files"][side]["xxh3"], record["micrograph"])
            for _, record in shards
        ]
        for side, path in zip(SIDES, (input_bin, target_bin), strict=True)
    }


def checked(shards):
    """Return the shards by name; InputError for one that isn't as its record says."""
    for path, record in shards:
        check_shard(path, record)
    return sorted_by_name(shards)


if "snakemake" in globals():
    run_job(concatenate_shards, snakemake)
