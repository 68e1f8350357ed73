"""Every micrograph has a name of its own; names and paths are text that tables can hold."""

import os
import tempfile

from clearice.errors import InputError
from clearice.micrographs.names import is_usable
from clearice.wording import LISTED, listed


def require_distinct(found):
    """Raise InputError for names that several of the MicrographFiles in `found` have."""
    by_name = {}
    for files in found:
        by_name.setdefault(files.name, []).append(files.input)
    if twice := {name: paths for name, paths in by_name.items() if len(paths) > 1}:
        raise named_twice(twice)


def named_twice(paths_by_name):
    """Return the InputError for names that stand for several files: name -> their paths."""
    twice = [f"{name} ({listed(paths)})" for name, paths in sorted(paths_by_name.items())]
    return InputError(
        f"{len(twice):,} micrograph names occur twice: {listed(twice, separator='; ')}",
        expected="one name per micrograph, whatever its folder",
        advice="rename the files, or name them in a .tsv",
    )


def require_told_apart(keys, folder):
    """Raise InputError for keys that are one name in the existing `folder`, where case is ignored.

    The files of one micrograph would replace those of another. Only where keys differ in nothing
    but case does it cost anything: a file that is made and removed.
    """
    by_fold = {}
    for key in keys:
        by_fold.setdefault(key.casefold(), []).append(key)
    alike = [same for same in by_fold.values() if len(same) > 1]
    if alike and _ignores_case(folder):
        raise InputError(
            "the file system does not tell upper case from lower",
            file=folder,
            found="; ".join(" and ".join(sorted(same)) for same in sorted(alike)[:LISTED]),
            advice="rename those micrographs, or use another file system for the results",
        )


def _ignores_case(folder):
    with tempfile.NamedTemporaryFile(prefix="clearice-Case-", dir=folder) as file:
        name = os.path.basename(file.name).replace("clearice-Case-", "clearice-cASE-")
        return os.path.exists(os.path.join(folder, name))


def require_text(found):
    """Raise InputError for names that no table can hold, and paths that are no UTF-8."""
    odd = sorted(files.name for files in found if not is_usable(files.name))
    if odd:
        raise InputError(
            f"{len(odd):,} names cannot be used ({listed(map(ascii, odd))})",
            expected="text on one line: UTF-8, without control characters and line breaks",
            advice="rename the files",
        )
    paths = [path for files in found for path in (files.input, files.target) if path]
    odd = sorted({path for path in paths if not _is_utf8(path)})
    if odd:
        raise InputError(
            f"{len(odd):,} paths are not UTF-8 ({listed(map(ascii, odd))})",
            advice="rename the folders, or link to them under another name",
        )


def _is_utf8(path):
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
