"""Files that many threads read, of which a process may keep only so many open."""

import contextlib
import errno
import os
import resource
import threading
from pathlib import Path

_MOST = 256  # 1,024 descriptors are a usual limit of a process, and a training has two readers
_OTHERS = 32  # what Python, PyTorch and the logs have open


def most_open_files():
    """Return how many files one reader keeps open under this process's limit of descriptors."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return _MOST
    return min(_MOST, max(1, (limit - _OTHERS) // 4))


class OpenFiles:
    """Descriptors of files in `folder`, by name: the ones read last stay open.

    Where the process has no descriptor left one of ours is closed, or waited for. `most` is how
    many stay open when nobody reads.
    """

    def __init__(self, folder, most=None):
        self._folder = Path(folder)
        self._most = most_open_files() if most is None else most
        self._files = {}  # name -> [descriptor, readers], the one read last at the end
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def opened(self, name):
        """Lend a descriptor of a file, for reads that name their offsets (preadv)."""
        with self._changed:
            while name not in self._files:
                self._open(name)
            entry = self._files[name] = self._files.pop(name)
            entry[1] += 1
        try:
            yield entry[0]
        finally:
            with self._changed:
                entry[1] -= 1
                self._close_idle(self._most)
                self._changed.notify_all()

    def close(self):
        """Close every file; no thread may be reading."""
        with self._changed:
            self._close_idle(0)

    def __len__(self):
        return len(self._files)

    def _open(self, name):
        """Open a file, or make room for it: then it is not open yet, or another opened it."""
        self._close_idle(self._most - 1)
        try:
            descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            before = len(self._files)
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not before:
                raise
            self._close_idle(before - 1)
            if len(self._files) == before:
                self._changed.wait()  # every file has readers: one of them will be done
        else:
            self._files[name] = [descriptor, 0]

    def _close_idle(self, keep):
        """Close files without readers, those read longest ago first, until `keep` are left."""
        if len(self._files) <= keep:
            return
        for name in [name for name, (_, readers) in self._files.items() if not readers]:
            if len(self._files) <= keep:
                return
            os.close(self._files.pop(name)[0])
