"""Commands run once: their cost measured, what they made kept under a hash of all it depends on."""

import hashlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path


def run(command, log):
    """Run a command; return its cost: wall_seconds, cpu_seconds and peak_mib of all its processes.

    Raises RuntimeError with the last line that it printed if it fails.
    """
    start = time.perf_counter()
    with open(log, "wb") as file:
        process = subprocess.Popen(list(map(str, command)), stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        lines = log.read_text(errors="replace").strip().splitlines() or ["nothing"]
        raise RuntimeError(f"exit status {process.returncode}: {lines[-1]} (see {log})")
    return {
        "wall_seconds": time.perf_counter() - start,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
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
