"""Files that are whole or absent: temporary name, fsync, rename; and their hashes."""

import contextlib
import errno
import fcntl
import json
import os
import stat
from pathlib import Path

from clearice.errors import InputError
from clearice.wording import made_again

_BLOCK_BYTES = 1 << 18
# What file systems answer that can't write a folder out by itself (SMB, some FUSE).
_NO_FOLDER_SYNC = {errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.EOPNOTSUPP}
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextlib.contextmanager
def atomic_path(path, *, synced=True):
    """Yield a temporary path beside `path`; on success fsync it and rename it to `path`.

    Without `synced` nothing waits for the disk: after a power cut the file may be torn. For files
    by the thousand whose maker finds that out, and makes them again.
    On any exception the temporary file is removed and an older `path` stays as it was. What a
    killed process left is replaced. InputError for a path that another process is writing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    descriptor = _open_alone(temporary, path)
    try:
        yield temporary
        if not _is_open(descriptor, temporary):  # no locks there, or removed behind our back
            raise _in_use(path)
        if synced:
            os.fsync(descriptor)
        os.replace(temporary, path)
        if synced:
            sync_folder(path.parent)
    except BaseException:
        _remove_own(temporary, descriptor)
        raise
    finally:
        os.close(descriptor)


def _temporary(path):
    """Return the temporary name of `path`.

    One name, without the number of the process: what a killed one left is found without reading
    the folder, which may hold a hundred thousand files.
    """
    return path.with_name(f".{path.name}.part")


def _open_alone(temporary, path):
    """Return a descriptor of the new file `temporary`, locked as long as it is open.

    InputError if another process has such a one. Where there are no locks, or each host has its
    own, a file that is there is taken for what a killed process left.
    """
    while True:
        with contextlib.suppress(FileNotFoundError), open(temporary, "rb") as older:
            _lock(older, path)
            os.unlink(temporary)
        with contextlib.suppress(FileExistsError):  # another was quicker
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with contextlib.suppress(InputError):  # so quick: the end will tell
                _lock(descriptor, path)
            return descriptor


def _lock(file, path):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(path) from None
    except OSError:
        pass  # a file system without locks


def _in_use(path):
    return InputError(
        "another process writes this file",
        file=path,
        advice="wait until it has ended, or end it, and run again",
    )


def _is_open(descriptor, path):
    """Return whether `path` is the file of that descriptor."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


def _remove_own(temporary, descriptor):
    with contextlib.suppress(OSError):
        if _is_open(descriptor, temporary):
            os.unlink(temporary)


def remove_leftover(path):
    """Remove the temporary file of `path` that a killed process left, if it did."""
    _temporary(Path(path)).unlink(missing_ok=True)


def sync_folder(folder):
    """Make a rename in `folder` survive a power cut (POSIX: fsync of the directory).

    Where a file system has no such thing, it is left to it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def write_text(path, text, *, synced=True):
    """Write `text` (UTF-8) to `path` atomically; `synced` as in atomic_path."""
    with atomic_path(path, synced=synced) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Write `value` as indented JSON, atomically; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path):
    """Return the JSON value in the regular file `path`; ValueError where it is no JSON."""
    try:
        return json.loads(regular_text(path))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_result(path):
    """Return the JSON value in a result of a run; InputError, with what cures it, if it has none.

    The value may be of another shape than the one that was written: the seal of a result says so.
    """
    try:
        return read_json(path)
    except FileNotFoundError:
        raise InputError("no such file", file=path, advice="run again: it is made then") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"unreadable ({error})", file=path, advice=made_again(path)) from None


def open_regular(path):
    """Return the regular file `path`, open for unbuffered reading of bytes.

    Raises InputError for anything else (a FIFO, a device, a folder, a file of the kernel, a link to
    one): reading those may wait or go on for ever. OSError is left to the caller.
    """
    _require_regular(path, os.stat(path).st_mode)  # opening a device may do something
    # Between the two it may have become another one: a FIFO then does not wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _require_regular(path, os.fstat(descriptor).st_mode, _real_path(descriptor))
        return open(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def _require_regular(path, mode, real_path=""):
    found = _KINDS.get(stat.S_IFMT(mode), "something else")
    if stat.S_ISREG(mode):  # so are those under /proc and /sys, which may wait or have no end
        if not real_path.startswith(("/proc/", "/sys/")):
            return
        found = "a file of the kernel"
    raise InputError(
        "not a regular file",
        file=path,
        expected="a file of bytes",
        found=found,
        advice="give the file itself",
    )


def _real_path(descriptor):
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:  # another system than Linux
        return ""


def regular_bytes(path, at_most=None, what="this file"):
    """Return the bytes of the regular file `path`: no more than it held when it was opened.

    Raises InputError for more than `at_most` bytes; `what` says in words what should be there.
    OSError is left to the caller.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if at_most is not None and size > at_most:
            raise InputError(
                f"too large for {what}",
                file=path,
                expected=f"at most {at_most:,} bytes",
                found=f"{size:,}",
                advice="is it the right file?",
            )
        blocks, left = [], size
        while left and (block := file.read(left)):
            blocks.append(block)
            left -= len(block)
    return b"".join(blocks)


def regular_text(path, at_most=None, what="this file", encoding="utf-8"):
    """Return the text of the regular file `path`, as regular_bytes does.

    Raises UnicodeDecodeError, a ValueError, where it is not in that encoding.
    """
    return regular_bytes(path, at_most, what).decode(encoding)


def xxh3_of_file(path):
    """Return the 16 hex digits of XXH3-64 over the bytes of `path`, read in blocks of 256 KiB.

    Of a file that grows, over those that it held when it was opened.
    """
    import xxhash  # `clearice compare`, which writes its verdict here, needs NumPy alone

    digest, buffer = xxhash.xxh3_64(), memoryview(bytearray(_BLOCK_BYTES))
    with open_regular(path) as file:
        left = os.fstat(file.fileno()).st_size
        while left and (count := file.readinto(buffer[:left])):
            digest.update(buffer[:count])  # while it is in the cache
            left -= count
    return digest.hexdigest()
