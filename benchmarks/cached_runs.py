"""Commands run once: their cost measured, what they made kept under a hash of all it depends on."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

# A process of its own that is small: a peak survives exec, so that a child inherits its parent's.
_LAUNCHER = """
import json, os, sys
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
facts = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
with open(sys.argv[1], "w") as file:
    json.dump(facts, file)
"""


def run(command, log):
    """Run a command; return its cost: wall_seconds, cpu_seconds and peak_mib of all its processes.

    Raises RuntimeError with the last line that it printed if it fails.
    """
    start, usage = time.perf_counter(), log.with_name(log.name + ".usage")
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, usage]
    with open(log, "wb") as file:
        subprocess.run([*launcher, *map(str, command)], stdout=file, stderr=subprocess.STDOUT)
    status, cpu_seconds, peak_mib = json.loads(usage.read_text())
    usage.unlink()
    if status != 0:
        lines = log.read_text(errors="replace").strip().splitlines() or ["nothing"]
        raise RuntimeError(f"exit status {status}: {lines[-1]} (see {log})")
    return {
        "wall_seconds": time.perf_counter() - start,
        "cpu_seconds": cpu_seconds,
        "peak_mib": peak_mib,
    }


def cached(folder, work):
    """Return what `work` (folder) returned, once; it is done again only if it did not finish."""
    record = folder / "record.json"
    if not record.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        result = work(folder)
        temporary = record.with_suffix(".part")
        temporary.write_text(json.dumps(result))
        temporary.rename(record)
    return json.loads(record.read_text())


def content_hash(*parts):
    """Return 16 hexadecimal digits of texts, paths (by content) and anything with a repr."""
    digest = hashlib.sha256()
    for part in parts:
        is_file = isinstance(part, Path) and part.is_file()
        digest.update(part.read_bytes() if is_file else str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]
