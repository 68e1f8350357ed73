"""Which runs of the workflow work in a folder, and what killed ones left there.

Snakemake locks the files of a run with files that it removes at the end; a kill -9 or a power cut
leaves them, and every later run is refused. So each run holds a record here, locked by its
process: a record that nobody holds is that of a run which is gone, and its locks can go, too.
"""

import atexit
import contextlib
import fcntl
import os
import shutil
import socket
from pathlib import Path

from clearice.locks import acquire, described, holder_in, is_here, write_holder

FOLDER = "clearice_runs"  # in Snakemake's own, with whose locks it may be lost


def take_over(snakemake_folder, *, unlock=False):
    """Record this run and remove the locks of those that are gone; return a line, or None.

    The line says whom this run takes over from, or, if it can't be known whether a run is gone
    (another host, no record), what to type. `unlock`: the user says that every other is gone.
    Where nothing can be written Snakemake says so: OSError is left to the caller.
    """
    folder, locks = Path(snakemake_folder) / FOLDER, Path(snakemake_folder) / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "guard", "w") as guard:
        acquire(guard)
        gone, unknown, living = _others(folder, unlock)
        _record_this(folder)
        locked = locks.is_dir() and any(locks.iterdir())
        if not unknown and not living and gone and locked:
            shutil.rmtree(locks)
    for path, _ in gone:
        path.unlink(missing_ok=True)
    if not locked or living or unlock:
        return None
    if gone and not unknown:
        return f"taking over from a run that was killed: {described(gone[-1][1])}"
    other = described(unknown[0][1] if unknown else {})
    return (
        f"a run may still be working in this folder: {other}; "
        "if Snakemake refuses to start and that run is gone: snakemake --unlock"
    )


def is_alive(snakemake_folder, holder):
    """Return whether the run that `holder` names is known to live: it holds its record."""
    for path in (Path(snakemake_folder) / FOLDER).glob(f"*.{holder.get('pid')}.json"):
        with contextlib.suppress(FileNotFoundError), open(path, "r+", encoding="utf-8") as file:
            if holder_in(file.read(4096)).get("host") == holder["host"]:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
    return False


def living_runs(snakemake_folder):
    """Return in words who the other runs are that hold a record and live on this machine."""
    folder = Path(snakemake_folder) / FOLDER
    own = folder / _own_name()
    with open(folder / "guard", "w") as guard:
        acquire(guard)
        return [described(holder) for path, holder in _others(folder, False)[2] if path != own]


def _others(folder, unlock):
    """Return [(path of a record, holder)] of the runs that are gone, may live, and live."""
    gone, unknown, living = [], [], []
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(FileNotFoundError), open(path, "r+", encoding="utf-8") as file:
            holder = holder_in(file.read(4096))
            entry = path, holder
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                living.append(entry)
                continue
            # The locks of a network file system may be known to their own host alone.
            (gone if unlock or is_here(holder) else unknown).append(entry)
    return gone, unknown, living


def _own_name():
    return f"{socket.gethostname()}.{os.getpid()}.json"


def _record_this(folder):
    path = folder / _own_name()
    file = open(path, "w", encoding="utf-8")  # noqa: SIM115 (held until the process ends)
    fcntl.flock(file, fcntl.LOCK_EX)
    write_holder(file)
    atexit.register(_forget, path, file)


def _forget(path, file):
    path.unlink(missing_ok=True)
    file.close()
