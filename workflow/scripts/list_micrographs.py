"""List the micrographs, rejected ones too, and decide which are held out for testing."""

from clearice.bridge import run_job
from clearice.dataset.micrograph_table import (
    allowed_fraction,
    check_rejected,
    micrograph_table,
    require_distinct,
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
    test_micrographs=None,
):
    """Write the table (micrographs.tsv) of the shards whose records are at `records`.

    `test_micrographs` is a file of names that replaces the split by hash. Raises InputError
    when too many micrographs are rejected, fewer than two are left, a name is unknown, or one
    image has two names.
    """
    records = sorted(map(read_shard_record, records), key=lambda record: record["micrograph"])
    known = {record["micrograph"] for record in records}
    check_rejected(records, allowed_fraction(on_error, max_rejected_fraction))
    require_distinct(records)
    named = read_test_micrographs(test_micrographs, known) if test_micrographs else None
    accepted = [record["micrograph"] for record in records if record["status"] == "ok"]
    splits = split_of(accepted, test_fraction, seed, named)
    write_text(table, micrograph_table(records, splits))
    for split in ("train", "test"):
        print(f"{split}: {sum(found == split for found in splits.values())} micrographs")


if "snakemake" in globals():
    run_job(list_micrographs, snakemake)
