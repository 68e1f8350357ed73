"""The list of an entry's files that a run folder keeps, and the record beside each download.

Read by every job that parses the workflow: nothing here brings a network library.
"""

import dataclasses
import urllib.parse
from pathlib import Path

from clearice.errors import InputError
from clearice.files import open_regular, read_json, write_text
from clearice.micrographs.finding.sources import micrograph_name
from clearice.micrographs.names import key_of

FOLDER = "results/micrographs"
_MOST_BYTES = 1 << 27
_COLUMNS = ("name", "modified", "size", "revision", "release")


@dataclasses.dataclass(frozen=True)
class Listed:
    """One file of the entry.

    `modified` and `size` are the words of the server's page. `revision` counts from 1 and is one
    more when the archive has another file of that name. `release` counts the listings that had
    new files: in which this one was first.
    """

    modified: str = ""
    size: str = ""
    revision: int = 1
    release: int = 1


@dataclasses.dataclass(frozen=True)
class KeptListing:
    """`files` (name -> Listed) of the folder at `url`, as it was listed at the time `asked`."""

    url: str
    asked: str
    files: dict

    def lists(self, folder):
        """Whether it is of that folder (entry/directory/) of the archive, on whatever server."""
        return self.url.endswith(f"/{urllib.parse.quote(folder)}")


def kept_path(directory, entry):
    """Return where the list of an entry's files is kept under the run folder `directory`."""
    return Path(directory, FOLDER, f"empiar_{entry}.tsv")


def read_kept(path):
    """Return the KeptListing in `path`, None where there is none that can be used."""
    try:
        with open_regular(path) as file:
            lines = file.read(_MOST_BYTES).decode("utf-8").split("\n")
        url, asked, columns, *rows = lines
        rows = [row.split("\t") for row in rows if row]
        if not url.startswith("# ") or tuple(columns.split("\t")) != _COLUMNS:
            return None
        files = {row[0]: Listed(row[1], row[2], int(row[3]), int(row[4])) for row in rows}
    except (OSError, InputError, ValueError, IndexError):
        return None
    if not all(_is_name(name) and listed.revision >= 1 for name, listed in files.items()):
        return None
    return KeptListing(url.removeprefix("# "), asked.removeprefix("# listed "), files)


def write_kept(path, kept):
    """Write a KeptListing."""
    rows = (f"{name}\t" + "\t".join(map(str, dataclasses.astuple(f))) for name, f in _sorted(kept))
    header = f"# {kept.url}", f"# listed {kept.asked}", "\t".join(_COLUMNS)
    write_text(path, "\n".join([*header, *rows]) + "\n")


def _sorted(kept):
    return sorted(kept.files.items())


def _is_name(name):
    return name and name.isprintable() and "/" not in name[:-1] and not name.startswith((".", "/"))


def revisions(directory, entry):
    """Return name -> revision of the files of an entry, none where no list is kept."""
    kept = read_kept(kept_path(directory, entry))
    return {name: listed.revision for name, listed in kept.files.items()} if kept else {}


def download_path(name):
    """Return where the file `name` of an entry is downloaded to, relative to the run folder."""
    stem = micrograph_name(name)
    return f"{FOLDER}/{key_of(stem)}{name.removeprefix(stem)}"


def record_path(download):
    """Return where the record of a download lies: beside X.mrc it is X.download.json."""
    return Path(download).with_suffix(".download.json")


def read_record(path):
    """Return the record of a download as a dict, None where there is none that can be used.

    Keys: url, bytes, version (Last-Modified, else ETag, or None), revision, downloaded (a time).
    """
    try:
        record = read_json(path)
        fine = (
            isinstance(record["url"], str)
            and type(record["bytes"]) is int
            and isinstance(record["version"], str | None)
            and type(record["revision"]) is int
        )
        return record if fine else None
    except (OSError, InputError, ValueError, LookupError, TypeError, RecursionError):
        return None
