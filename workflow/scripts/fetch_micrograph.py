"""Download one micrograph of an EMPIAR entry."""

import functools

from clearice.bridge import run_job
from clearice.download import fetch_file, file_url


def fetch_micrograph(micrograph, file, base_url, connections):
    """Download `file` (entry/folder/name) of the archive at `base_url` to `micrograph` (MRC)."""
    fetch_file(file_url(base_url, file), micrograph, connections)


if "snakemake" in globals():
    # Not params: another mirror or number of connections must not download everything again.
    how = {key: snakemake.config["empiar"][key] for key in ("base_url", "connections")}
    run_job(functools.partial(fetch_micrograph, **how), snakemake)
