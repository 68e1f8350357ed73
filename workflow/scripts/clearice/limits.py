"""Limits of the machine: which one an error is about, and how it is raised, in one line."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

from clearice.errors import InputError

_GIB, _MIB = 1 << 30, 1 << 20
# What C++ (PyTorch), the dynamic linker and Python say, in exceptions without a type of their own.
_MEMORY_WORDS = ("can't allocate memory", "cannot allocate memory", "failed to map segment")
_THREAD_WORDS = ("can't start new thread", "resource temporarily unavailable")


def limit_line(error):
    """Return one line on the limit that `error` ran into; None if it is about none."""
    number, text = getattr(error, "errno", None), str(error).lower()
    if isinstance(error, MemoryError) or number == errno.ENOMEM or _says(error, _MEMORY_WORDS):
        return _memory_line(error)
    if number == errno.EMFILE:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"too many open files: a process may have {limit} (ulimit -n); raise that limit"
    if number == errno.ENFILE:
        return "too many open files on this machine; end other programs (limit: fs.file-max)"
    if number == errno.EAGAIN or _says(error, _THREAD_WORDS):
        return f"no further process or thread can be started: {_process_limits()}"
    if number == errno.EFBIG:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if limit == resource.RLIM_INFINITY:
            return f"{_where(error)}the file system can't hold a file of this size; use another"
        return f"{_where(error)}a file may have {limit} bytes (ulimit -f); raise that limit"
    if number == errno.ENOENT and "temporary directory" in text:
        return "no folder for temporary files can be written to; set TMPDIR to one that can"
    return None


def require_address_space():
    """Raise InputError if the address space is limited to less than PyTorch starts in.

    That is tried in a process of its own, where there is a limit at all (ulimit -v): most have
    none, and some failures end a process without an exception.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return
    trial = subprocess.run([sys.executable, "-c", "import pandas, torch"], capture_output=True)
    said = trial.stderr.decode(errors="replace").lower()
    if trial.returncode < 0 or any(word in said for word in (*_MEMORY_WORDS, "memoryerror")):
        raise InputError(
            f"the address space is limited to {_size(limit)} (ulimit -v): too little for PyTorch",
            advice="raise that limit: ulimit -v unlimited",
        )


def require_writable(folder):
    """Raise InputError if Snakemake could not keep its own folder in `folder`."""
    own = Path(folder) / ".snakemake"
    place = own if own.exists() else Path(folder)
    if not os.access(place, os.W_OK | os.X_OK):
        read_only = os.statvfs(place).f_flag & os.ST_RDONLY
        raise InputError(
            "a read-only file system" if read_only else "may not be written to",
            file=place.resolve(),
            advice="Snakemake writes there: give --directory a folder of your own",
        )


def require_inodes(folder, paths):
    """Raise InputError if the disk of `folder` has no inodes for those `paths` that don't exist."""
    disk = os.statvfs(folder)
    if not disk.f_files or disk.f_favail >= len(paths):  # Btrfs makes them as needed, and says 0
        return
    new = sum(not os.path.lexists(path) for path in paths)
    if new > disk.f_favail:
        raise InputError(
            "the disk can't hold that many files",
            file=folder,
            expected=f"{new} inodes free",
            found=disk.f_favail,
            advice="remove files, whatever their size",
        )


def why_full(error, folder=None):
    """Return why an OSError says that a disk is full: no inodes, a quota, or no space."""
    if error.errno == errno.EDQUOT:
        return error.strerror
    place = Path(folder or error.filename or ".")
    while not place.exists() and place != place.parent:
        place = place.parent
    disk = os.statvfs(place)
    if disk.f_files and not disk.f_favail and disk.f_bavail:
        return "no inodes left on device (it holds too many files)"
    return error.strerror


def _says(error, words):
    kinds = RuntimeError, ImportError, OSError
    return isinstance(error, kinds) and any(word in str(error).lower() for word in words)


def _where(error):
    return f"{error.filename}: " if error.filename else ""


def _memory_line(error):
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    first = (str(error).splitlines() or [""])[0][:160]
    line = f"out of memory ({first})" if first else "out of memory"
    if limit != resource.RLIM_INFINITY:
        return (
            f"{line}: the address space is limited to {_size(limit)} (ulimit -v); raise that limit"
        )
    group = memory_of_group()
    if group is not None:
        return f"{line}: this job may use {_size(group)} (cgroup); ask for more"
    return f"{line}; close other programs, or use a machine with more"


def memory_of_group():
    """Return the bytes that the control group of this process may use; None without a limit."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limit = int(Path(path).read_text(encoding="ascii"))
        except (OSError, ValueError):  # "max"
            continue
        if limit < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
            return limit
    return None


def _process_limits():
    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if space != resource.RLIM_INFINITY:  # each thread takes some
        return f"the address space is limited to {_size(space)} (ulimit -v); raise that limit"
    most = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    most = "any number" if most == resource.RLIM_INFINITY else most
    return (
        f"a user may have {most} (ulimit -u; a container or a job has pids.max as well); "
        "raise that limit, or use fewer --cores"
    )


def _size(count):
    return f"{count / _GIB:.3g} GiB" if count >= _GIB else f"{count / _MIB:.3g} MiB"
