"""Benchmark files as Snakemake writes them."""

import os

HEADER = (
    *("s", "h:m:s", "max_rss", "max_vms", "max_uss", "max_pss"),
    *("io_in", "io_out", "mean_load", "cpu_time"),
)
ENDED = 1_700_000_000


def write_benchmark(path, seconds, max_rss="-", ended=ENDED, **measured):
    """Write the file of a job that `ended` (s since 1970); what is not given was not measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {"s": seconds, "h:m:s": "0:00:01", "max_rss": max_rss, **measured}
    rows = [HEADER, [str(values.get(column, "NA")) for column in HEADER]]
    path.write_text("".join("\t".join(row) + "\n" for row in rows))
    os.utime(path, (ended, ended))
