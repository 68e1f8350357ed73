"""What the main process of a run looks at before it plans: results that are there already.

Results that are not what was written are found, also those that no job of this run would read;
results of a clock that was ahead get times that Snakemake can compare with those of today; and
where Snakemake's own records are lost, the seals say what a result was made with.
"""

import json
import os
import shlex
import sys
import time
from pathlib import Path

from clearice.errors import InputError
from clearice.seals import (
    FOLDER,
    SUFFIX,
    Allowance,
    advice_on,
    fault_of,
    made_with,
    read_seal,
    reseal,
    set_aside,
)
from clearice.wording import listed

_AHEAD_NS = 2 * 10**9  # a file server's clock may be a little ahead
_STEP_NS = 1000  # between healed times: Snakemake's floats tell microseconds apart
_FOLDER_TIME = ".snakemake_timestamp"  # where Snakemake keeps the time of a folder


def sealed_results(folder):
    """Yield (path, seal) of every result below `folder` that exists and has a seal."""
    for place, folders, _ in os.walk(folder):
        if FOLDER in folders:
            for name in sorted(os.listdir(Path(place, FOLDER))):
                path = Path(place, name.removesuffix(SUFFIX))
                if name.endswith(SUFFIX) and path.exists() and (sealed := read_seal(path)):
                    yield path, sealed
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def require_good_results(folder, *, touch=True, note=lambda path, sealed: None):
    """Raise InputError for results below `folder` that are not what was written.

    `note` is called with the path and the seal of each good result.

    They are set aside, and times in the future are healed. With `touch` false (a dry run) nothing
    is changed, and a warning is printed instead. Large files are left to the jobs that read them.
    """
    faults, ahead = [], {}
    allowance, limit_ns = Allowance(), time.time_ns() + _AHEAD_NS
    for path, sealed in sealed_results(folder):
        times = _times(path, sealed)
        future = {file: t for file, t in times.items() if t[0] > limit_ns}

        def wanted(n_bytes, on_time, future=bool(future)):
            return not on_time and (future or allowance.take(n_bytes))

        try:
            fault = fault_of(path, sealed, wanted)
        except OSError:
            continue  # removed meanwhile, or unreadable: the job that reads it says so
        if fault:
            faults.append((path, fault))
            continue
        note(path, sealed)
        if future:
            ahead |= {file: (*t, path) for file, t in future.items()}
    if ahead and touch:
        _heal(ahead, limit_ns)
    if faults:
        _stop([path for path, _ in faults], [fault for _, fault in faults], touch)


def _times(path, sealed):
    """Return file -> (its mtime, the recorded one) in ns; files that are missing are left out."""
    recorded = {path / name: entry["mtime_ns"] for name, entry in sealed["files"].items()}
    recorded[path / _FOLDER_TIME] = max(recorded.values(), default=0)
    return {f: (os.stat(f).st_mtime_ns, t) for f, t in recorded.items() if f.exists()}


def _heal(ahead, limit_ns):
    """Give files their recorded times, or where those are in the future too, now, in their order.

    `ahead`: file -> (mtime, recorded mtime, result that it belongs to).
    """
    now_ns = limit_ns - _AHEAD_NS
    unknown = sorted({t for t, recorded, _ in ahead.values() if recorded > limit_ns})
    new = {t: now_ns - (len(unknown) - k) * _STEP_NS for k, t in enumerate(unknown)}
    for file, (mtime_ns, recorded_ns, _) in ahead.items():
        mtime_ns = new.get(mtime_ns, now_ns) if recorded_ns > limit_ns else recorded_ns
        os.utime(file, ns=(mtime_ns, mtime_ns))
    for path in {path for *_, path in ahead.values()}:
        sealed = read_seal(path)
        for name, entry in sealed["files"].items():
            entry["mtime_ns"] = os.stat(path / name).st_mtime_ns
        reseal(path, sealed)
    print(
        f"{len(ahead)} results were dated in the future; their times are corrected", file=sys.stderr
    )


def _stop(paths, faults, touch):
    texts = [f"{fault.path} (expected {fault.expected}, found {fault.found})" for fault in faults]
    what = "1 result is" if len(faults) == 1 else f"{len(faults)} results are"
    what = f"{what} not what was written: {listed(texts)}"
    if not touch:
        print(f"warning: {what}; a run will set that aside and stop", file=sys.stderr)
        return
    for path in paths:
        set_aside(path)
    raise InputError(what, advice=advice_on(paths))


def require_times_of_today(sources):
    """Raise InputError for source files that are dated more than five minutes in the future.

    Nothing made of them could be newer: Snakemake fails every job that reads them.
    """
    limit_s, ahead = time.time() + 300, []
    for path in sources:
        try:
            ahead += [path] if os.stat(path).st_mtime > limit_s else []
        except OSError:
            continue  # missing: its shard says so
    if ahead:
        words = " ".join(shlex.quote(str(path)) for path in ahead[:3]) + " ..." * (len(ahead) > 3)
        raise InputError(
            f"micrographs dated in the future ({len(ahead)}): {listed(ahead)}",
            advice=f"check the clocks and give them the time of today: touch {words}",
        )


def digest_of(made):
    """Return the hash of what made_with returned, as bytes."""
    import xxhash  # the bridge of `clearice compare` has NumPy alone

    return xxhash.xxh3_128_digest(json.dumps(made, sort_keys=True).encode())


def is_made_otherwise(outputs, params, inputs):
    """Return whether the seal of one of these results names other settings, code or inputs."""
    now = made_with(params, inputs)
    seals = map(read_seal, outputs)
    return any(sealed is not None and sealed["made_with"] != now for sealed in seals)
