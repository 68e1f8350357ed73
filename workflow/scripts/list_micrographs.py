"""List the micrographs, rejected ones too, and decide which are held out for testing."""

import functools

from clearice.bridge import run_job
from clearice.dataset.micrograph_table import (
    allowed_fraction,
    check_rejected,
    compare_records,
    micrograph_table,
    require_distinct,
    require_storable,
    require_two,
)
from clearice.dataset.splits import read_test_micrographs, split_of
from clearice.files import write_text
from clearice.shards.record import read_shard_record


def list_micrographs(
    records,
    table,
    test_fraction,
    seed,
    max_rejected_fraction,
    on_error="skip",
    files=None,
    halves=None,
    source="files",
    mixed="stop",
    test_micrographs=None,
    denoised_dtype=None,
):
    """Write the table (micrographs.tsv) of the shards whose records are at `records`.

    `test_micrographs` is a file of names that replaces the split by hash. Raises InputError
    when too many micrographs are rejected, fewer than two are left or whole, a name is unknown, one
    image has two names, the micrographs are not one set, or `denoised_dtype` (None where nothing is
    denoised) cannot hold the results. `source`, `files`, `halves` and `mixed` are keys of
    `micrographs` in config.yaml.
    """
    records = sorted(map(read_shard_record, records), key=lambda record: record["micrograph"])
    known = {record["micrograph"] for record in records}
    check_rejected(records, allowed_fraction(on_error, max_rejected_fraction))
    require_two(records)
    require_distinct(records)
    require_storable(records, denoised_dtype)
    section = {"source": source, "files": files, "halves": halves, "mixed": mixed}
    compared = compare_records(records, section)
    for line in compared.lines:
        print(f"warning: {line}")
    if compared.fault:
        raise compared.fault
    named = read_test_micrographs(test_micrographs, known) if test_micrographs else None
    accepted = [record["micrograph"] for record in records if record["status"] == "ok"]
    splits = split_of(accepted, test_fraction, seed, named)
    write_text(table, micrograph_table(records, splits, compared.warnings))
    for split in ("train", "test"):
        print(f"{split}: {sum(found == split for found in splits.values())} micrographs")


if "snakemake" in globals():
    # Not params, because they only choose words: which micrographs there are is known by records.
    named = {key: snakemake.config["micrographs"][key] for key in ("source", "files", "halves")}
    run_job(functools.partial(list_micrographs, **named), snakemake)
