"""The folder that an implementation writes into, which may hold anything when it has ended."""

import os
import shutil
import stat
from pathlib import Path

from clearice.errors import InputError
from clearice.wording import listed

_KINDS = {stat.S_IFLNK: "a link", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
_SPARE_BYTES = 4 << 30  # for profiles and other files that nobody asked for


class OutputFolder:
    """An empty folder for a program, and what is done with it afterwards."""

    def __init__(self, path):
        self.path = Path(path)
        if self.path.is_symlink():
            self.path.unlink()
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        self._place = os.path.realpath(self.path)

    def clean(self, most_bytes):
        """Remove what is neither file nor folder; return what it was in words, or None.

        Links lead elsewhere, reading a FIFO or a device may never end, and files of more than
        `most_bytes` and some GiB altogether are no tensors. Nothing outside is touched: raises
        InputError if the folder has come to lie somewhere else.
        """
        removed = []
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_dir()):
            self.path.unlink()
            removed.append(f"{self.path.name} (no folder any more)")
        if os.path.realpath(self.path) != self._place:
            raise InputError(
                "was replaced by the program that writes into it",
                file=self.path,
                expected=self._place,
                found=os.path.realpath(self.path),
            )
        self.path.mkdir(exist_ok=True)
        left = most_bytes + _SPARE_BYTES
        for entry in _entries(self.path):
            status = entry.stat(follow_symlinks=False)
            left -= status.st_size if stat.S_ISREG(status.st_mode) else 0
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a device")
            if stat.S_ISREG(status.st_mode):
                if left >= 0:
                    continue
                left, kind = left + status.st_size, f"{status.st_size} bytes"
            os.unlink(entry.path)
            removed.append(f"{os.path.relpath(entry.path, self.path)} ({kind})")
        return f"removed from its output: {listed(removed)}" if removed else None


def _entries(folder):
    """Yield all entries below a folder but folders, following no link."""
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            os.chmod(place, 0o755)
        with os.scandir(place) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield entry
