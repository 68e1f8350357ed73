"""The store that the dataset's binaries grow in, one shard after the other.

A split's patches lie in {split}_input.bin and {split}_target.bin of a hidden folder, and
{split}.json there says how much of them is known to be good. Growing is: append, fsync, then
replace the json. What a crash left behind the committed length is cut off by the next run, so
that every run ends in the same bytes. The dataset's own files are hard links to these
(publish): Snakemake removes a job's outputs before it starts and when it fails, and the store
outlives that. Snakemake's own update() would copy the whole old file first, hundreds of GiB.
"""

import contextlib
import errno
import os
from pathlib import Path

from clearice.dataset.copying import append_binary, check_shard, hash_next
from clearice.dataset.segments import SIDES
from clearice.disk import disk_full, free_bytes, is_full
from clearice.errors import InputError
from clearice.files import read_json, remove_leftover, sync_folder, write_json
from clearice.limits import why_full
from clearice.locks import only_process

# What a crash may cost: each commit waits for the disk (four fsyncs).
_COMMIT_BYTES = 1 << 30
_JOURNAL_VERSION = 1
# What file systems answer that have none, or not between two folders (AFS, quotas per folder).
_NO_HARD_LINKS = {
    *(errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV),
    *(errno.EACCES, errno.EINVAL),
}


def grow(store, split, shards, stamp=None, distrusted=False):
    """Make the store of `split` hold the patches of `shards`; return them in stored order.

    `shards` is a list of (path of the shard's json, its content). Shards that are stored and
    unchanged stay where they are and new ones follow by name; anything else starts anew, by
    name. Raises InputError for a shard that doesn't match its record and for a full disk.
    What is stored is read again if it was modified after the last commit, or if `distrusted`.
    `stamp` is a file that Snakemake touched with the binaries of the last run: until then they
    are not modified.
    """
    store = Path(store)
    store.mkdir(parents=True, exist_ok=True)
    by_name = {record["micrograph"]: (path, record) for path, record in sorted_by_name(shards)}
    # After a kill -9 of snakemake its cluster jobs live on and may meet a new run.
    with only_process(store / f"{split}.lock", "writing this dataset"):
        remove_leftover(store / f"{split}.json")
        segments = _committed_segments(store, split, stamp, distrusted)
        if any(_segment(by_name.get(s["micrograph"])) != s for s in segments):
            print(f"{split}: a stored micrograph was removed or changed: all are copied again")
            segments = []
        stored = [by_name.pop(segment["micrograph"]) for segment in segments]
        for path, record in stored:
            check_shard(path, record)
        new = list(by_name.values())
        _check_free_space(store, split, segments, new)
        _append_shards(store, split, segments, new)
        print(f"{split}: {len(stored)} shards were already stored, {len(new)} were copied")
    return stored + new


@contextlib.contextmanager
def full_disk_is_one_line(folder):
    """Turn "no space left" and "quota exceeded" inside the block into an InputError."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise _disk_full(folder, None, why_full(error, folder)) from None


def sorted_by_name(shards):
    """Return (path, record) pairs ordered by micrograph."""
    return sorted(shards, key=lambda shard: shard[1]["micrograph"])


def publish(store, split, side, declared):
    """Give the stored binary the name `declared` as well.

    A hard link where the file system has them. Elsewhere the file itself moves, and the next
    run copies everything again.
    """
    stored, declared = _binary(store, split, side), Path(declared)
    declared.unlink(missing_ok=True)
    try:
        os.link(stored, declared)
    except FileExistsError:  # NFS asked twice, because the first answer was lost
        if not os.path.samefile(stored, declared):
            raise
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        print(f"{declared}: no hard links here ({error.strerror}): it can't grow, only be remade")
        _journal(store, split).unlink(missing_ok=True)
        os.replace(stored, declared)
    sync_folder(declared.parent)


def _binary(store, split, side):
    return Path(store) / f"{split}_{side}.bin"


def _journal(store, split):
    return Path(store) / f"{split}.json"


def _segment(shard):
    """Return what the journal remembers of a shard; two equal ones have the same bytes."""
    if shard is None:
        return None
    record = shard[1]
    files = {side: {k: record["files"][side][k] for k in ("bytes", "xxh3")} for side in SIDES}
    return {"micrograph": record["micrograph"], **files}


def _committed_segments(store, split, stamp=None, distrusted=False):
    """Return the journal's segments if the binaries still hold them, else none."""
    try:
        journal = _read_journal(_journal(store, split))
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, RecursionError):
        print(f"{split}: no journal that this version can read: all shards are copied again")
        return []
    touched_ns = stamp.stat().st_mtime_ns if stamp is not None and stamp.is_file() else 0
    for side in SIDES:
        path, segments = _binary(store, split, side), journal["segments"]
        found = path.stat() if path.is_file() else None
        if found is None or found.st_size < sum(s[side]["bytes"] for s in segments):
            print(f"{path}: shorter than it was left: all shards are copied again")
            return []
        committed_ns = journal["mtime_ns"][side]
        on_time = committed_ns <= found.st_mtime_ns <= max(committed_ns, touched_ns)
        # A crash and a copied folder end here too, so the bytes decide.
        if (distrusted or not on_time) and not _holds(path, side, segments):
            print(f"{path}: was modified outside the workflow: all shards are copied again")
            return []
    return journal["segments"]


def _read_journal(path):
    """Return a journal that has all that is read of it; ValueError and the like if it has not."""
    journal = read_json(path)
    if journal["format_version"] != _JOURNAL_VERSION:
        raise ValueError("another version")
    for segment in journal["segments"]:
        for side in SIDES:
            _require(str, segment["micrograph"], segment[side]["xxh3"])
            _require(int, segment[side]["bytes"], journal["mtime_ns"][side])
    return journal


def _require(kind, *values):
    if not all(type(value) is kind for value in values):
        raise TypeError(f"a value is no {kind.__name__}")


def _holds(path, side, segments):
    """Return whether the file's bytes are those of the segments, one after the other."""
    with open(path, "rb", buffering=0) as file:
        return all(
            hash_next(file, segment[side]["bytes"]) == segment[side]["xxh3"] for segment in segments
        )


def _check_free_space(store, split, segments, new):
    """Raise InputError before anything is written or removed if the new shards can't fit."""
    needed = sum(record["files"][side]["bytes"] for _, record in new for side in SIDES)
    free = free_bytes(store)
    for side in SIDES:  # what is about to be cut off or removed makes room
        path, kept = _binary(store, split, side), sum(s[side]["bytes"] for s in segments)
        if path.is_file() and (segments or path.stat().st_nlink == 1):
            free += path.stat().st_size - kept
    if needed > free:
        raise _disk_full(store.parent, f"{needed} bytes free", f"{free}")


def _disk_full(folder, expected, found):
    advice = " and run again (what is there is kept), or set dataset.concatenate: false"
    return disk_full("the dataset", folder, advice, expected, found)


def _append_shards(store, split, segments, new):
    """Append `new` behind the committed `segments`, committing every _COMMIT_BYTES."""
    if not segments:
        _start_anew(store, split)
    with contextlib.ExitStack() as stack:
        files = {
            side: stack.enter_context(open(_binary(store, split, side), "rb+", buffering=0))
            for side in SIDES
        }
        ends = {side: sum(s[side]["bytes"] for s in segments) for side in SIDES}
        committed = dict(ends)
        for side, file in files.items():
            file.truncate(ends[side])
        try:
            for path, record in new:
                for side, file in files.items():
                    append_binary(path, record, side, file, ends[side])
                    ends[side] += record["files"][side]["bytes"]
                segments = [*segments, _segment((path, record))]
                if sum(ends.values()) - sum(committed.values()) >= _COMMIT_BYTES:
                    _commit(store, split, segments, files)
                    committed = dict(ends)
            _commit(store, split, segments, files)
        except (OSError, InputError):  # give back the room of what is not committed
            for side, file in files.items():
                file.truncate(committed[side])
            raise


def _start_anew(store, split):
    """Forget the journal first, then replace the binaries: who reads the old ones still can."""
    _journal(store, split).unlink(missing_ok=True)
    sync_folder(store)
    for side in SIDES:
        _binary(store, split, side).unlink(missing_ok=True)
        _binary(store, split, side).touch()
    sync_folder(store)


def _commit(store, split, segments, files):
    """Make what was appended part of the store."""
    mtimes_ns = {}
    for side, file in files.items():
        os.utime(file.fileno())  # newer than the shards even if nothing was appended
        os.fsync(file.fileno())
        mtimes_ns[side] = os.fstat(file.fileno()).st_mtime_ns
    journal = {"format_version": _JOURNAL_VERSION, "segments": segments, "mtime_ns": mtimes_ns}
    write_json(_journal(store, split), journal)
