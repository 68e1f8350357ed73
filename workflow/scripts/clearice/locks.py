"""One process at a time: locks that die with their process, and who holds them."""

import contextlib
import datetime
import fcntl
import json
import os
import socket
import time
from pathlib import Path

from clearice.errors import InputError

PATIENCE_S = 10  # one that was asked to end is still writing what it continues from
_POLL_S = 0.1


@contextlib.contextmanager
def only_process(path, doing):
    """Hold the lock file `path`, which stays; InputError if another process goes on holding it.

    `doing` completes "another process is ...". The kernel takes the lock from a process that
    ends, however it does. NFS passes locks to the other hosts (but with the mount option
    local_lock or nolock); where a file system has none, a line says so and nothing is locked.
    """
    with open(path, "a+", encoding="utf-8") as file:
        try:
            acquire(file)
        except BlockingIOError:
            holder = _read(file)
            raise InputError(
                f"another process is {doing}",
                file=path.parent,
                found=described(holder),
                advice=f"wait for it, or end it ({_ended_by(holder)}) and run again",
            ) from None
        except OSError as error:
            print(f"{path}: no locks on this file system ({error.strerror})", flush=True)
        else:
            write_holder(file)
        yield


def acquire(file):
    """Lock an open file; BlockingIOError if another process goes on holding it."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until_s:
                raise
            time.sleep(_POLL_S)
        else:
            return


def write_holder(file):
    """Write into the open file who holds it."""
    file.seek(0)
    file.truncate()
    file.write(this_holder())
    file.flush()


def this_holder():
    """Return a line that says who this process is, for holder_in()."""
    job = os.environ.get("SLURM_JOB_ID")
    since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "boot": boot_id()}
    return json.dumps(holder | ({"slurm_job": job} if job else {})) + "\n"


def boot_id():
    """Return what names this start of this machine, in all its containers; "" without /proc."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def is_here(holder):
    """Say whether a holder ran on this machine, so that its lock tells whether it is gone."""
    same_boot = bool(boot_id()) and holder.get("boot") == boot_id()
    return same_boot or holder.get("host") == socket.gethostname()


def _read(file):
    file.seek(0)
    return holder_in(file.read(4096))


def holder_in(text):
    """Return the record that write_holder wrote, {} for anything else."""
    try:
        holder = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(holder, dict):
        return {}
    kinds = {"pid": int, "host": str, "since": str}
    whole = all(isinstance(holder.get(name), kind) for name, kind in kinds.items())
    return holder if whole else {}


def described(holder):
    """Return in words who a holder is."""
    if not holder:
        return "a process that left no name"
    return f"process {holder['pid']} on {holder['host']}, since {holder['since']}"


def _ended_by(holder):
    """Return the command that ends a holder; a trainer writes a checkpoint then."""
    if not holder:
        return "fuser -v names it"
    if holder.get("slurm_job"):
        return f"scancel {holder['slurm_job']}"
    here = holder["host"] == socket.gethostname()
    return f"kill {holder['pid']}" + ("" if here else f" on {holder['host']}")
