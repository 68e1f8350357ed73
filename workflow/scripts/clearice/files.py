"""Files that are whole or absent: temporary name, fsync, rename; and their hashes."""

import contextlib
import glob
import json
import os
import stat
from pathlib import Path

from clearice.errors import InputError

_BLOCK_BYTES = 1 << 20
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextlib.contextmanager
def atomic_path(path):
    """Yield a temporary path beside `path`; on success fsync it and rename it to `path`.

    On any exception the temporary file is removed and an older `path` stays as it was. What a
    killed process left is removed before; two must not write one path at a time.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path):
    """Remove the temporary files of `path` that killed processes left."""
    prefix = f".{path.name}."
    for leftover in path.parent.glob(f"{glob.escape(prefix)}*.part"):
        # Digits: those of a.json.json, which another job may be writing, are not those of a.json.
        if leftover.name.removeprefix(prefix).removesuffix(".part").isdigit():
            leftover.unlink(missing_ok=True)


def sync_folder(folder):
    """Make a rename in `folder` survive a power cut (POSIX: fsync of the directory)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path, text):
    """Write `text` (UTF-8) to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Write `value` as indented JSON, atomically; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path):
    """Return the JSON value in `path`."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def open_regular(path):
    """Return the regular file `path`, open for unbuffered reading of bytes.

    Raises InputError for anything else (a FIFO, a device, a folder, a link to one): reading those
    may wait or go on for ever. OSError is left to the caller.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO waits not
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise InputError(
                "not a regular file",
                file=path,
                expected="a file of bytes",
                found=_KINDS.get(stat.S_IFMT(mode), "something else"),
                advice="give the file itself",
            )
        return open(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def xxh3_of_file(path):
    """Return the 16 hex digits of XXH3-64 over the bytes of `path`, read in blocks of 1 MiB."""
    import xxhash  # `clearice compare`, which writes its verdict here, needs NumPy alone

    digest = xxhash.xxh3_64()
    with open_regular(path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
