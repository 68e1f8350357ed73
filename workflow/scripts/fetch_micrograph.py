"""Download one micrograph of an EMPIAR entry."""

import functools

from clearice.bridge import run_job
from clearice.micrographs.empiar.download import fetch_file
from clearice.micrographs.empiar.listing import file_url


def fetch_micrograph(micrograph, file, base_url, connections, on_error="stop"):
    """Download `file` (entry/folder/name) of the archive at `base_url` to `micrograph` (MRC).

    A file that is truncated in the archive stops the job, or with `on_error` skip is fetched as
    it is, so that its shard says what is wrong with it and the others go on.
    """
    url = file_url(base_url, file)
    fetch_file(url, micrograph, connections, keep_damaged=on_error == "skip")


if "snakemake" in globals():
    # Not params: another mirror or number of connections must not download everything again.
    how = {key: snakemake.config["empiar"][key] for key in ("base_url", "connections")}
    how["on_error"] = snakemake.config["micrographs"]["on_error"]
    run_job(functools.partial(fetch_micrograph, **how), snakemake)
