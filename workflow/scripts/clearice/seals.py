"""Seals: what a result was when its job ended, and what it was made with, beside the result.

Format: docs/formats.md, section Seals. A file without a seal, or with one that cannot be read, is
nothing that can be judged, and is taken as it is.
"""

import contextlib
import json
import os
import secrets
import shlex
import shutil
from pathlib import Path

from clearice.errors import InputError
from clearice.files import open_regular, read_json

FORMAT_VERSION = 1
FOLDER, SUFFIX = ".seals", ".seal"
ASIDE = ".damaged"  # what a file that is not what was written is called from then on
READ_ALWAYS_BYTES = 1 << 30  # hashed although size and time are right: a second at most
_BLOCK_BYTES = 8 << 20


class Fault:
    """What is wrong with a sealed file: where, what was `expected` and what was `found`."""

    def __init__(self, path, expected, found):
        self.path, self.expected, self.found = str(path), expected, found

    def __str__(self):
        return f"{self.path}: expected {self.expected}, found {self.found}"


class Allowance:
    """How many bytes may still be hashed."""

    def __init__(self, n_bytes=READ_ALWAYS_BYTES):
        self._left = n_bytes

    def take(self, n_bytes):
        """Return whether that many bytes are left, and take them."""
        enough = n_bytes <= self._left
        self._left -= n_bytes if enough else 0
        return enough


def seal_path(path):
    """Return where the seal of a result lies."""
    path = Path(path)
    return path.parent / FOLDER / (path.name + SUFFIX)


def made_with(params, inputs):
    """Return what a job was given, as plain JSON: `params` (name -> value), names of `inputs`.

    `params` hold the settings and, as `code`, the fingerprint of the code.
    """
    facts = {"params": dict(params), "inputs": _digest(sorted(map(str, inputs)))}
    return json.loads(json.dumps(facts, default=str))


def _digest(names):
    import xxhash  # `clearice compare`, which needs NumPy alone, imports the bridge and so this

    return f"{len(names)} {xxhash.xxh3_64(chr(10).join(names).encode()).hexdigest()}"


def seal(path, rule, made, stamp, hashes=None):
    """Seal the result `path`, a file or a folder of files, which `rule` has just written.

    `made` is what made_with returned. `stamp` is a file that Snakemake touches when it has last
    touched the result (the job's benchmark): a result that is newer was changed afterwards.
    `hashes` lists (bytes, XXH3-64) or (bytes, XXH3-64, name) of the parts of a file if its writer
    knows them; else it is read here.
    """
    path = Path(path)
    names = ["."] if path.is_file() else sorted(_files_below(path))
    _write(
        path,
        {
            "format_version": FORMAT_VERSION,
            "rule": rule,
            "made_with": made,
            "stamp": stamp and os.path.relpath(stamp, path.parent),
            "files": {name: _entry(path / name, hashes) for name in names},
        },
    )


def _files_below(folder):
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            if file.is_file() and not name.startswith(".snakemake"):
                yield str(file.relative_to(folder))


def _entry(path, hashes=None):
    status = os.stat(path)
    parts = hashes or [(status.st_size, next(_hashes(path, [status.st_size])))]
    return {
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "parts": [list(part) for part in parts],
    }


def _hashes(path, sizes):
    """Yield the XXH3-64 of one part of a file after the other."""
    import xxhash

    with open_regular(path) as file:
        for size in sizes:
            digest = xxhash.xxh3_64()
            while size and (block := file.read(min(size, _BLOCK_BYTES))):
                digest.update(block)
                size -= len(block)
            yield digest.hexdigest()


def _write(path, content):
    """Write a seal, whole; one that a crash loses is only missed, so nothing waits for the disk."""
    place = seal_path(path)
    place.parent.mkdir(exist_ok=True)
    temporary = place.with_name(f".{secrets.token_hex(8)}.part")
    try:
        temporary.write_text(json.dumps(content), encoding="utf-8")
        os.replace(temporary, place)
    finally:
        temporary.unlink(missing_ok=True)


def break_seal(path):
    """Remove the seal of a result that is about to be written."""
    seal_path(path).unlink(missing_ok=True)


def read_seal(path):
    """Return the seal of a result as a dict, None if it has none that can be read."""
    try:
        content = read_json(seal_path(path))
        if content["format_version"] != FORMAT_VERSION:
            return None
        for entry in content["files"].values():
            if sum(size for size, *_ in entry["parts"]) != entry["bytes"]:
                return None
        return content if isinstance(content["made_with"], dict) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def fault_of(path, sealed, wanted, *, renew=True):
    """Return the Fault of a result with the seal `sealed`, None for one that is as it was.

    Sizes always count. `wanted(n_bytes, on_time)` says whether a file of that size is hashed,
    given whether its time is the recorded one; where that was not, and the file is good, its new
    time is recorded (with `renew`).
    """
    path, renewed = Path(path), False
    for name, entry in sealed["files"].items():
        file = path / name
        try:
            status = os.stat(file)
        except OSError as error:
            return Fault(file, f"{entry['bytes']:,} bytes", error.strerror)
        if status.st_size != entry["bytes"]:
            return Fault(file, f"{entry['bytes']:,} bytes", f"{status.st_size:,}")
        on_time = has_its_time(path, sealed, entry, status)
        if not wanted(entry["bytes"], on_time):
            continue
        if fault := _hash_fault(file, entry):
            return fault
        if not on_time:
            entry["mtime_ns"], renewed = status.st_mtime_ns, True
    if renewed and renew:
        reseal(path, sealed)
    return None


def has_its_time(path, sealed, entry, status):
    """Return whether a file is as old as it was sealed, or as Snakemake's touch then left it."""
    if status.st_mtime_ns == entry["mtime_ns"]:
        return True
    stamp = sealed.get("stamp")
    try:
        latest_ns = os.stat(Path(path).parent / stamp).st_mtime_ns if stamp else 0
    except OSError:
        latest_ns = 0
    return entry["mtime_ns"] < status.st_mtime_ns <= latest_ns


def _hash_fault(file, entry):
    """Return the Fault of a file of the right size whose bytes are others; it is read."""
    sizes = [size for size, *_ in entry["parts"]]
    for (_, expected, *name), found in zip(entry["parts"], _hashes(file, sizes), strict=True):
        if found != expected:
            where = f" of {name[0]}" if name else ""
            return Fault(file, f"xxh3 {expected}{where}", found)
    return None


def reseal(path, sealed):
    """Record new times of files whose content was found good; where that fails, it is only slow."""
    with contextlib.suppress(OSError):
        _write(path, sealed)


def require_unchanged(paths):
    """Raise InputError for the first of these results that is not what its job wrote.

    It is set aside, so that the next run makes it again. Files whose time is not the recorded one
    are hashed, and of the others the smallest, up to READ_ALWAYS_BYTES together.
    """
    allowance = Allowance()

    def wanted(n_bytes, on_time):
        return not on_time or allowance.take(n_bytes)

    found = [(path, sealed) for path in dict.fromkeys(paths) if (sealed := read_seal(path))]
    for path, sealed in sorted(found, key=_sealed_bytes):
        if fault := fault_of(path, sealed, wanted):
            set_aside(path)
            raise InputError(
                "is not what was written",
                file=fault.path,
                expected=fault.expected,
                found=fault.found,
                advice=advice_on([path]),
            )


def _sealed_bytes(item):
    return sum(entry["bytes"] for entry in item[1]["files"].values())


def set_aside(path):
    """Rename a damaged result; it is kept until it was made again."""
    aside = aside_of(path)
    remove(aside)
    with contextlib.suppress(FileNotFoundError):  # another job found it first
        os.replace(path, aside)


def aside_of(path):
    """Return the name under which a damaged result is kept."""
    return Path(path).with_name(Path(path).name + ASIDE)


def remove(path):
    """Remove a result, a file or a folder, if it exists."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def advice_on(paths):
    """Say how results that were set aside are made again."""
    words = " ".join(shlex.quote(str(path)) for path in paths[:3])
    more = " ..." if len(paths) > 3 else ""
    return (
        f"set aside as *{ASIDE}; to make it again, run the same command once more, "
        f"or: snakemake {words}{more}"
    )
