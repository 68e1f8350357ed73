"""Room on a disk: how much is free, and whether an error says that none is."""

import errno
import os


def free_bytes(folder):
    """Return what an ordinary user may still write into the existing `folder`."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def is_full(error):
    """Say whether an OSError means a full disk or an exhausted quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
