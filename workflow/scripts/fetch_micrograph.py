"""Download one micrograph of an EMPIAR entry."""

import datetime
import functools
import os

from clearice.bridge import run_job
from clearice.files import write_json
from clearice.micrographs.empiar.addresses import file_url
from clearice.micrographs.empiar.download import fetch_file
from clearice.micrographs.empiar.kept_listing import read_record


def fetch_micrograph(micrograph, record, file, revision, base_url, connections, on_error="stop"):
    """Download `file` (entry/folder/name) of the archive at `base_url` to `micrograph` (MRC).

    What was downloaded, from where and when goes to `record`; a file that is here already is kept
    if it is the archive's. `revision` counts the files that the archive had under that name. A
    file that is truncated in the archive stops the job, or with `on_error` skip is fetched as it
    is, so that its shard says what is wrong with it and the others go on.
    """
    url, known = file_url(base_url, file), read_record(record)
    skip = on_error == "skip"
    fetched, is_new = fetch_file(url, micrograph, connections, keep_damaged=skip, record=known)
    now = datetime.datetime.now(datetime.UTC).isoformat(" ", "seconds")
    facts = {
        "url": url,
        "bytes": os.path.getsize(micrograph),
        "version": fetched.version,
        "revision": revision,
        "downloaded": now if is_new or not known else known["downloaded"],
    }
    write_json(record, facts)


if "snakemake" in globals():
    # Not params: another mirror or number of connections must not download everything again.
    how = {key: snakemake.config["empiar"][key] for key in ("base_url", "connections")}
    how["on_error"] = snakemake.config["micrographs"]["on_error"]
    run_job(functools.partial(fetch_micrograph, **how), snakemake)
