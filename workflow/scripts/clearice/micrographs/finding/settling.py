"""Files that are still being written when the micrographs are listed: they wait for the next run.

Costs a stat per file, and the reading of 1,024 bytes of those that were changed lately.
"""

import dataclasses
import os
import re
from pathlib import Path, PurePath

from clearice.errors import InputError, UnfinishedError
from clearice.files import open_regular
from clearice.micrographs.compressed import MAGIC_BYTES, MAGICS
from clearice.micrographs.mrc_header import HEADER_BYTES, parse_header
from clearice.micrographs.waiting import STILL_WRITTEN, Clock, file_state, file_status
from clearice.wording import listed

# What programs that copy and download add to a name until the file is whole.
_ENDINGS = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".download", ".aria2")
_OF_RSYNC = re.compile(r"\..+\.[A-Za-z0-9]{6}")


def has_temporary_name(path):
    """Say whether a program that copies will give the file another name once it is whole.

    >>> [has_temporary_name(name) for name in ("a.mrc.part", "b/.a.mrc.Xq3dZ1", "a.mrc")]
    [True, True, False]
    """
    name = PurePath(path).name
    return name.lower().endswith(_ENDINGS) or bool(_OF_RSYNC.fullmatch(name))


def without_temporary_names(paths, pattern, say):
    """Return the paths that a glob `pattern` found, less those of unfinished copies.

    A pattern that asks for such names gets them. `say` is called with a line for a person.
    """
    if has_temporary_name(pattern):
        return paths
    kept = [path for path in paths if not has_temporary_name(path)]
    if len(kept) < len(paths):
        found = sorted(set(paths) - set(kept))
        say(
            f"{len(found):,} files with the name of an unfinished copy are left out: "
            f"{listed(found)}"
        )
    return kept


def with_states(found, directory, settle_minutes, say):
    """Return the MicrographFiles in `found` with the states of their files.

    Those that are shorter than their headers say, and were changed in the last `settle_minutes`,
    are set aside (STILL_WRITTEN). Compressed files are left to their shards: only reading all of
    them would tell.
    """
    directory, clock = Path(directory), Clock(directory) if settle_minutes else None

    def stated(files):
        paths = [directory / path for path in (files.input, files.target) if path]
        now, reason = list(map(file_status, paths)), files.reason
        if settle_minutes and not reason:
            statuses = zip(paths, now, strict=True)
            young = (path for path, status in statuses if clock.is_young(status, settle_minutes))
            reason = STILL_WRITTEN if any(map(_is_unfinished, young)) else None
        return dataclasses.replace(files, states=tuple(map(file_state, now)), reason=reason)

    stated_files = list(map(stated, found))
    waiting = sorted(files.name for files in stated_files if files.reason == STILL_WRITTEN)
    if waiting:
        say(
            f"{len(waiting):,} of {len(found):,} micrographs are {STILL_WRITTEN} and wait for the "
            f"next run: {listed(waiting)}"
        )
    return stated_files


def _is_unfinished(path):
    """Say whether the length of a plain file is less than its header needs."""
    try:
        with open_regular(path) as file:
            raw = file.read(HEADER_BYTES)
            if raw[:MAGIC_BYTES] not in MAGICS:
                number = file.fileno()
                size_bytes = os.fstat(number).st_size
                parse_header(raw, path, size_bytes, lambda at, n: os.pread(number, n, at))
    except UnfinishedError:
        return True
    except (InputError, OSError):  # its shard says what is wrong
        return False
    return False
