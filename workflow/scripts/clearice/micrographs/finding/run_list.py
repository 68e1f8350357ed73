"""The micrographs of a run, as it began, for the processes of its jobs.

Each job parses the Snakefile anew. What it would find then may be more or less than what the run
was planned for: a file vanished, a new half has no partner, another name came twice.
"""

import dataclasses
import json
import os

from clearice.files import write_text
from clearice.micrographs.finding.sources import MicrographFiles

_PATH = ".snakemake/clearice_micrographs.json"
_VARIABLE = "CLEARICE_RUN"  # the folder of the run whose jobs inherit it


def keep_list(micrographs):
    """Keep name -> MicrographFiles for the jobs that this process and its executors start."""
    files = [dataclasses.asdict(files) for files in micrographs.values()]
    write_text(_PATH, json.dumps(files))
    os.environ[_VARIABLE] = os.getcwd()


def kept_list():
    """Return name -> MicrographFiles of the run that this job belongs to, None if not known."""
    if os.environ.get(_VARIABLE) != os.getcwd():
        return None
    try:
        with open(_PATH, encoding="utf-8") as file:
            found = [MicrographFiles(**files | {"links": ()}) for files in json.load(file)]
    except (OSError, ValueError, TypeError):
        return None
    return {files.name: files for files in found}
