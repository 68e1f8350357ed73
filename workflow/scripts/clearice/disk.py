"""Room on a disk: how much is free, whether an error says that it is full, and what to say."""

import errno
import os

from clearice.errors import InputError


def free_bytes(folder):
    """Return what an ordinary user may still write into the existing `folder`."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def is_full(error):
    """Say whether an OSError means a full disk or an exhausted quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def disk_full(what, folder, advice, expected=None, found=None):
    """Return the InputError for a disk, that of `folder`, which cannot hold `what`."""
    return InputError(
        f"the disk can't hold {what}",
        file=folder,
        expected=expected,
        found=found,
        advice=f"make room{advice}",
    )
