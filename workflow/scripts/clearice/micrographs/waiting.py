"""Micrographs that wait for the next run: why they do, and how a file that grows is told.

They are left out of this run, and do not count as rejected.
"""

import os
import tempfile
import time

NO_OTHER_HALF = "no other half (yet)"
STILL_WRITTEN = "still being written"
VANISHED = "vanished while the run went on"
REASONS = (NO_OTHER_HALF, STILL_WRITTEN, VANISHED)


def file_status(path):
    """Return what os.stat says of a file, None if it does not exist."""
    try:
        return os.stat(path)
    except OSError:
        return None


def file_state(status):
    """Return [bytes, second of the last change] of a file by what file_status returned, or None."""
    return status and [status.st_size, status.st_mtime_ns // 10**9]


class Clock:
    """What time it is where a file lies: the file server's clock dates it, not this machine's.

    Known for the file system of `folder`, where a file without a name is made to ask; elsewhere
    it is this machine's time.
    """

    def __init__(self, folder="."):
        self._device, self._ahead_s = None, 0.0
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"\0")
                file.flush()
                status, now_s = os.fstat(file.fileno()), time.time()
        except OSError:
            return
        self._device, self._ahead_s = status.st_dev, status.st_mtime - now_s

    def is_young(self, status, settle_minutes):
        """Say whether a file was changed in the last `settle_minutes`, or in the future.

        `status` is what file_status returned; a file that does not exist is not young.
        """
        if status is None:
            return False
        now_s = time.time() + (self._ahead_s if status.st_dev == self._device else 0.0)
        return now_s - status.st_mtime < 60 * settle_minutes
