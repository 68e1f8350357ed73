"""Time and memory of each step, from the benchmark files that Snakemake leaves beside results."""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

from clearice.files import regular_bytes
from clearice.tsv import number

FLOW = (
    *("micrographs", "shards", "dataset", "model"),
    *("reference", "parity", "denoised", "validation"),
)
_PER_MICROGRAPH = ("micrographs", "shards", "denoised", "validation")
_PER_NAME = ("model", "parity")  # a folder each
_BESIDE = {  # the bundle's folder holds only the bundle, that of the validation only micrographs
    "export_reference": "reference",
    "sum_up_validation": "validation",
}
_SUFFIX = ".benchmark.tsv"


@dataclass(frozen=True)
class Job:
    """One job: its step and name, wall time (s), peak resident memory (MiB, or None), end (s)."""

    step: str
    name: str
    seconds: float
    peak_rss_mib: float | None
    ended: float


def read_jobs(results, names=None):
    """Return the Jobs of every benchmark file under the folder `results`, in path order.

    `names`, key of paths -> name of micrographs, architectures and implementations, leaves out jobs
    of others: files of what was removed stay on disk. A file that is empty or odd is left out.
    """
    results = Path(results)
    jobs = []
    for path in sorted(results.rglob(f"*{_SUFFIX}")):
        relative = path.relative_to(results)
        step = relative.parts[0].removesuffix(_SUFFIX)
        step = _BESIDE.get(step, step)
        name = path.name.removesuffix(_SUFFIX)
        of = name if step in _PER_MICROGRAPH and len(relative.parts) > 1 else None
        if step in _PER_NAME and len(relative.parts) > 2:
            of = relative.parts[1]
        if step not in FLOW or (names is not None and of is not None and of not in names):
            continue
        # Not tsv.read_table: pandas takes a millisecond per file, and there is one per job.
        text = io.StringIO(regular_bytes(path).decode(errors="replace"), newline="")
        for row in csv.DictReader(text, delimiter="\t"):
            seconds, peak = number(row.get("s")), number(row.get("max_rss"))
            if seconds is not None:
                shown = names.get(name, name) if names else name
                jobs.append(Job(step, shown, seconds, peak, path.stat().st_mtime))
    return jobs


def step_table(jobs):
    """Return one dict per step, in the order of the flow, for the report's table."""
    rows = []
    for step in FLOW:
        mine = [job for job in jobs if job.step == step]
        if mine:
            longest = max(mine, key=lambda job: job.seconds)
            peaks = [job.peak_rss_mib for job in mine if job.peak_rss_mib is not None]
            rows.append(
                {
                    "step": step,
                    "jobs": len(mine),
                    "seconds": sum(job.seconds for job in mine),
                    "longest_s": longest.seconds,
                    "longest_job": longest.name,
                    "peak_rss_mib": max(peaks, default=None),
                }
            )
    return rows


def busy_seconds(jobs):
    """Return the wall time in which at least one job ran.

    A benchmark file is written when its job ends, so its age and its seconds give an interval;
    the union of the intervals leaves out the nights between an interrupted run and the next.
    """
    total, until = 0.0, -math.inf
    for start, end in sorted((job.ended - job.seconds, job.ended) for job in jobs):
        if end > until:
            total += end - max(start, until)
            until = end
    return total
