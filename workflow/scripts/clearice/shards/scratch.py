"""A disk of the node itself, on the way to a slow or shared file system: `patches.scratch`."""

import contextlib
import os
import tempfile
from pathlib import Path

from clearice.disk import disk_full, is_full
from clearice.errors import InputError
from clearice.files import open_regular

BLOCK_BYTES = 8 << 20  # few and large writes are what parallel file systems like
_ADVICE = ", or set patches.scratch to another folder or to null, and run again"


def scratch_folder(text):
    """Return the folder that `patches.scratch` names, None for None.

    Variables such as $TMPDIR are those of this job, which runs on the node whose disk it is.
    Raises InputError, one line, for a folder that is not there or can't be written to.
    """
    if text is None:
        return None
    folder = Path(os.path.expandvars(text))
    if "$" in str(folder):
        what, found = "a variable that is not set on this node", str(folder)
    elif not folder.is_dir():
        what, found = "no such folder on this node", str(folder)
    elif not os.access(folder, os.W_OK | os.X_OK):
        what, found = "a folder that can't be written to", str(folder)
    else:
        return folder
    raise InputError(
        f"patches.scratch: {what}",
        found=found,
        expected="a folder on the disk of the node that runs the job",
        advice="ask your administrator for its name, or set patches.scratch: null",
    )


@contextlib.contextmanager
def by_way_of(scratch, path):
    """Yield the path to write to: `path`, or with a `scratch` folder a file there.

    That one is then copied to `path`, in order and in large blocks, and removed, whatever happens
    but a kill -9. Raises InputError for a full scratch. Whoever reads the copy compares its hash.
    """
    if scratch is None:
        yield path
        return
    descriptor, name = tempfile.mkstemp(prefix="clearice-", suffix=".bin", dir=scratch)
    os.close(descriptor)
    try:
        try:
            yield name
        except OSError as error:
            if not is_full(error):
                raise
            raise disk_full("the patches on their way", scratch, _ADVICE) from None
        _copy(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _copy(source_path, path):
    """Copy a file; the caller syncs and renames the copy."""
    buffer = memoryview(bytearray(BLOCK_BYTES))
    with open_regular(source_path) as source, open(path, "wb", buffering=0) as target:
        while block := buffer[: source.readinto(buffer)]:
            while block:
                block = block[target.write(block) :]
