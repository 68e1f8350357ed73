"""The folder of pages: what is drawn already, what has to go, and the order to leaf through."""

import contextlib
import os
from pathlib import Path

from clearice.errors import InputError
from clearice.files import read_json, write_text
from clearice.report.drawing.detail import FORMAT_VERSION
from clearice.report.templates import script_json

_ENDINGS = (".html", ".json")  # of a micrograph's files


class Pages:
    """The pages and records of micrographs in `folder`, named by their keys."""

    def __init__(self, folder):
        self._folder = Path(folder)

    def paths(self, key):
        """Return the paths of the page and of the record of a micrograph."""
        return tuple(self._folder / f"{key}{ending}" for ending in _ENDINGS)

    def is_drawn(self, key, digest):
        """Say whether the page and the record of that digest are there, whole and without a fault.

        A page is not waited for until it is on the disk: after a power cut its length tells.
        An image that could not be read may be readable now, though nothing of it tells.
        """
        page, path = self.paths(key)
        try:
            record = read_json(path)
            return (
                not record["faults"]
                and record["format_version"] == FORMAT_VERSION
                and record["digest"] == digest
                and record["page_bytes"] == os.stat(page).st_size
            )
        except (OSError, InputError, ValueError, KeyError, TypeError):
            return False

    def write(self, key, page, record):
        """Write a page and then its record, without which it does not count."""
        page_path, path = self.paths(key)
        path.unlink(missing_ok=True)
        write_text(page_path, page, synced=False)
        write_text(path, script_json(record), synced=False)

    def remove(self, key):
        """Remove the files of a micrograph."""
        for path in reversed(self.paths(key)):
            path.unlink(missing_ok=True)

    def remove_others(self, keys):
        """Remove the files of all micrographs but those `keys`, and what a killed job left."""
        wanted = {path.name for key in keys for path in self.paths(key)}
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                if name not in wanted and name.endswith((*_ENDINGS, ".part")):
                    (self._folder / name).unlink(missing_ok=True)


def order_script(names):
    """Return the script that tells every page the order of all: key -> name, in that order.

    A page that is opened as a file can load a script, but can read no other file.
    """
    others = {key: name for key, name in names.items() if key != name}
    detail = script_json({"keys": list(names), "names": others})
    return f'dispatchEvent(new CustomEvent("clearice-order", {{detail: {detail}}}));\n'
