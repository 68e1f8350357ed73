"""What the results occupy on the disk, by folder."""

import os
import stat
from pathlib import Path

DISK_COLUMNS = ("folder", "files", "occupied_bytes", "length_bytes")
_BLOCK_BYTES = 512  # of st_blocks, on any file system (POSIX, sys/stat.h)
BESIDE = "(files beside the folders)"


def disk_use(results):
    """Return one row per folder of `results`, the largest first: DISK_COLUMNS, and `unread`.

    A file counts what it occupies: a sparse one less than its length, a hard link of one that was
    met before nothing, a symbolic link itself. Every folder is read once. `unread` counts what
    could not be looked at.
    """
    results, met, rows = Path(results), set(), []
    own = _row(BESIDE)
    for entry in sorted(results.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            row = _row(entry.name)
            _add_folder(row, entry, met)
            rows.append(row)
        else:
            _add_file(own, entry, met)
    rows += [own] if own["files"] else []
    return sorted(rows, key=lambda row: (-row["occupied_bytes"], row["folder"]))


def total(rows):
    """Return the sum of the rows of disk_use as one row."""
    return {key: sum(row[key] for row in rows) for key in (*DISK_COLUMNS[1:], "unread")}


def _row(folder):
    return {"folder": folder, **dict.fromkeys((*DISK_COLUMNS[1:], "unread"), 0)}


def _add_folder(row, folder, met):
    folders = [os.fspath(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        _add_file(row, entry, met)
        except OSError:
            row["unread"] += 1


def _add_file(row, entry, met):
    """Add a file: `entry` is a Path or what os.scandir yields."""
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:  # gone since the folder was read
        row["unread"] += 1
        return
    row["files"] += 1
    if found.st_nlink > 1 and stat.S_ISREG(found.st_mode):
        if (found.st_dev, found.st_ino) in met:
            return
        met.add((found.st_dev, found.st_ino))
    row["occupied_bytes"] += found.st_blocks * _BLOCK_BYTES
    row["length_bytes"] += found.st_size
