"""Results of jobs that ended well in a group of jobs that did not.

If one member of a group fails, is cancelled or loses its node, Snakemake removes the results of
all. So each member that ends keeps another name (a hard link) of its results in `.kept` beside
them. Its next job finds that they are what it would make, and gives them their names again.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

from clearice.files import read_json, regular_text, write_text
from clearice.seals import fault_of, read_seal, reseal

IN_A_GROUP = "CLEARICE_IN_A_GROUP"  # set in the environment of jobs that are members of a group
FOLDER = ".kept"
_SUFFIX = ".kept.json"
_FORMAT_VERSION = 1
_LOG_BYTES = 1 << 16


class KeptResults:
    """The results `outputs` of one job, and what they depend on.

    `made` is what seals.made_with returned, `inputs` are the files that the job reads, or that do
    not exist; their states are taken here, before it does.
    """

    def __init__(self, outputs, made, inputs):
        self._outputs = list(map(str, outputs))
        self._depends = {"made_with": made, "inputs": list(map(_state, sorted(set(inputs))))}

    def keep(self, log=None):
        """Keep the sealed results, and what the file `log` says, if the job is one of a group.

        Where the file system has no hard links, nothing is kept: the job would be done again.
        """
        if not os.environ.get(IN_A_GROUP):
            return
        entry = {
            "format_version": _FORMAT_VERSION,
            **self._depends,
            "seals": {path: read_seal(path) for path in self._outputs},
            "log": _text(log),
        }
        try:
            for path in self._outputs:
                kept = _kept(path)
                kept.parent.mkdir(exist_ok=True)
                kept.unlink(missing_ok=True)
                os.link(path, kept)
            write_text(_entry(self._outputs), json.dumps(entry))
        except OSError as error:
            self.forget()
            print(f"not kept for the case that its group fails: {error}", file=sys.stderr)

    def take(self):
        """Return whether the results of an earlier job were there to be taken.

        They have their names and seals again then. Those that were made of anything else, or that
        are damaged, are removed.
        """
        try:
            entry = read_json(_entry(self._outputs))
        except (OSError, ValueError):
            return False
        if not self._fits(entry):
            self.forget()
            return False
        for path in self._outputs:
            Path(path).unlink(missing_ok=True)
            os.link(_kept(path), path)
            reseal(path, entry["seals"][path])
        print(entry["log"], end="")
        print("kept from an earlier job, whose group failed", file=sys.stderr)
        return True

    def _fits(self, entry):
        try:
            same = (
                entry["format_version"] == _FORMAT_VERSION
                and {name: entry[name] for name in self._depends} == self._depends
                and entry["seals"].keys() == set(self._outputs)
                and isinstance(entry["log"], str)
            )
            return same and not any(map(_fault, self._outputs, entry["seals"].values()))
        except (OSError, KeyError, TypeError, AttributeError):
            return False

    def forget(self):
        """Remove the kept names."""
        _forget(self._outputs)


def forget_kept(results, keys):
    """Remove the kept names below the folder `results` that nothing needs any more.

    Those are the ones of results that exist, and of micrographs that are not among `keys`.
    """
    for entry in Path(results).glob(f"*/{FOLDER}/*{_SUFFIX}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            outputs = list(read_json(entry)["seals"])
            parts = entry.name.split(".")
            starts = {".".join(parts[:count]) for count in range(1, len(parts))}
            if not starts & set(keys) or all(map(os.path.exists, outputs)):
                _forget(outputs)
                entry.unlink(missing_ok=True)
    for folder in Path(results).glob(f"*/{FOLDER}"):
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()


def _forget(outputs):
    for path in (_entry(outputs), *map(_kept, outputs)):
        path.unlink(missing_ok=True)


def _fault(path, sealed):
    """Return the Fault of a kept result; it is read if its time is not the recorded one."""
    kept = _kept(path)
    there = {**sealed, "files": {kept.name: sealed["files"]["."]}}
    return fault_of(kept.parent, there, lambda n_bytes, on_time: not on_time, renew=False)


def _kept(path):
    path = Path(path)
    return path.parent / FOLDER / path.name


def _entry(outputs):
    first = _kept(outputs[0])
    return first.with_name(first.name + _SUFFIX)


def _state(path):
    """Return [path, bytes, time of change] of a file; nulls where it does not exist."""
    try:
        status = os.stat(path)
    except OSError:
        return [str(path), None, None]
    return [str(path), status.st_size, status.st_mtime_ns]


def _text(log):
    try:
        return regular_text(log, at_most=_LOG_BYTES) if log else ""
    except (OSError, ValueError):
        return ""
