"""What was made of a micrograph, in a JSON file beside it, so that it is not made twice.

Format: docs/formats.md, section Denoised micrographs.
"""

import os

from clearice import __version__
from clearice.errors import InputError
from clearice.files import read_json, write_json, xxh3_of_file

FORMAT_VERSION = 1
# What a result depends on. Tiles and the device change it by rounding at most.
_SETTINGS = ("dtype", "hot_pixel_threshold", "average_halves")


def file_state(path):
    """Return what tells whether a file changed: its path, bytes, time of change and XXH3-64."""
    status = os.stat(path)
    state = {"path": os.fspath(path), "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    return state | {"xxh3": xxh3_of_file(path)}


def write_record(path, micrograph, states, denoised, model, settings, **facts):
    """Write the record of one result: `states` are the file_state of what it was made of."""
    record = {
        "format_version": FORMAT_VERSION,
        "clearice": __version__,
        "micrograph": micrograph,
        "files": states,
        "denoised": {"path": os.fspath(denoised), "bytes": os.stat(denoised).st_size},
        "model": model,
        "settings": {name: settings[name] for name in _SETTINGS},
        **facts,
    }
    write_json(path, record)


def is_done(path, files, denoised, model, settings, stated_pixel_size_angstrom=None):
    """Say whether the record in `path` is that of an unchanged result of the same work.

    A file whose time of change alone is another one is read again: its hash tells.
    """
    record = recorded(path)
    try:
        same = (
            record["model"]["xxh3"] == model["xxh3"]
            and record["settings"] == {name: settings[name] for name in _SETTINGS}
            and record.get("stated_pixel_size_angstrom") == stated_pixel_size_angstrom
            and record["denoised"]["bytes"] == os.stat(denoised).st_size
            and len(record["files"]) == len(files)
        )
        return same and all(map(_is_unchanged, record["files"], files))
    except (OSError, KeyError, TypeError):
        return False


def recorded(path):
    """Return the record in `path`, {} if there is none of ours."""
    try:
        record = read_json(path)
    except (OSError, ValueError, InputError):
        return {}
    ours = isinstance(record, dict) and record.get("format_version") == FORMAT_VERSION
    return record if ours else {}


def _is_unchanged(state, path):
    status = os.stat(path)
    if state["bytes"] != status.st_size:
        return False
    return state["mtime_ns"] == status.st_mtime_ns or state["xxh3"] == xxh3_of_file(path)
