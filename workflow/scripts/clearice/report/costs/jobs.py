"""Jobs and what each of them took, from the benchmark files that Snakemake leaves beside results.

Snakemake looks at the processes of a job every half second, and after a quarter of a minute every
half minute. So a job shorter than that has no memory, CPU seconds or traffic, and of a long one the
CPU seconds and the traffic stop at the last look. Traffic is what the kernel moved from and to the
storage (read_bytes and write_bytes of /proc/PID/io): what the page cache answered is not in it.
"""

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path

from clearice.files import regular_bytes
from clearice.tsv import number

FLOW = (
    *("micrographs", "shards", "dataset", "model", "reference"),
    *("parity", "denoised", "validation", "report"),
)
JOB_COLUMNS = (
    *("step", "name", "seconds", "cpu_s", "mean_load_percent", "peak_rss_mib"),
    *("read_mib", "written_mib", "started", "ended"),
)
STEP_COLUMNS = (
    *("step", "jobs", "seconds", "cpu_s", "longest_s", "longest_job", "peak_rss_mib"),
    *("read_mib", "written_mib"),
)
SLOWEST = 10  # jobs on the page; jobs.tsv has all
_PER_MICROGRAPH = ("micrographs", "shards", "denoised", "validation")
_PER_NAME = ("model", "parity")  # a folder each
_ELSEWHERE = {  # the bundle's folder holds only the bundle, that of the validation only micrographs
    "export_reference": "reference",
    "sum_up_validation": "validation",
    "fortran": "parity",  # the programs that it runs
}
_SUFFIX = ".benchmark.tsv"


@dataclass(frozen=True)
class Job:
    """One job: its step and name, wall time (s), peak resident memory (MiB), end (s since 1970).

    Then CPU time (s), mean load (per cent of a core), what it read from the storage and wrote to it
    (MiB). All but the times are None where Snakemake did not measure them. Memory that processes
    of a job share counts for each of them.
    """

    step: str
    name: str
    seconds: float
    peak_rss_mib: float | None
    ended: float
    cpu_s: float | None = None
    mean_load_percent: float | None = None
    read_mib: float | None = None
    written_mib: float | None = None

    @property
    def started(self):
        """When it began, in seconds since 1970."""
        return self.ended - self.seconds


def read_jobs(results, names=None):
    """Return the Jobs of every benchmark file under the folder `results`, in path order.

    `names`, key of paths -> name of micrographs, architectures and implementations, leaves out jobs
    of others: files of what was removed stay on disk. A file that is empty or odd is left out, and
    so is the report's own: it is of the run before.
    """
    results = Path(results)
    jobs = []
    for path in sorted(benchmark_files(results)):
        parts = Path(path).relative_to(results).parts
        step = parts[0].removesuffix(_SUFFIX)
        step = _ELSEWHERE.get(step, step)
        name = parts[-1].removesuffix(_SUFFIX)
        if step not in FLOW or parts[:2] == ("report", f"report{_SUFFIX}"):
            continue
        if names is not None and (of := _subject(step, name, parts)) and of not in names:
            continue
        jobs += _read(path, step, names.get(name, name) if names else name)
    return jobs


def benchmark_files(folder):
    """Yield the paths of the benchmark files under a folder; links to folders are not followed."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(_SUFFIX):
                yield os.path.join(parent, name)


def _subject(step, name, parts):
    """Return the key of the micrograph, or the name, that a job is of; None for all of them."""
    if step in _PER_MICROGRAPH and len(parts) > 1:
        return name
    return parts[1] if step in _PER_NAME and parts[0] == step and len(parts) > 2 else None


def _read(path, step, name):
    """Yield a Job for every row of a benchmark file that has a time."""
    text = io.StringIO(regular_bytes(path).decode(errors="replace"), newline="")
    for row in csv.DictReader(text, delimiter="\t"):
        seconds = number(row.get("s"))
        if seconds is not None:
            yield Job(
                step,
                name,
                seconds,
                number(row.get("max_rss")),
                os.stat(path).st_mtime,
                *map(number, map(row.get, ("cpu_time", "mean_load", "io_in", "io_out"))),
            )


def step_table(jobs):
    """Return one dict per step, in the order of the flow, for the report's table.

    A sum is over the jobs of which it was measured; None where it was of none.
    """
    by_step = {}
    for job in jobs:
        by_step.setdefault(job.step, []).append(job)
    rows = []
    for step, mine in sorted(by_step.items(), key=lambda item: FLOW.index(item[0])):
        longest = max(mine, key=lambda job: job.seconds)
        rows.append(
            {
                "step": step,
                "jobs": len(mine),
                "seconds": sum(job.seconds for job in mine),
                "cpu_s": _over(sum, mine, "cpu_s"),
                "longest_s": longest.seconds,
                "longest_job": longest.name,
                "peak_rss_mib": _over(max, mine, "peak_rss_mib"),
                "read_mib": _over(sum, mine, "read_mib"),
                "written_mib": _over(sum, mine, "written_mib"),
            }
        )
    return rows


def _over(function, jobs, key):
    known = [value for job in jobs if (value := getattr(job, key)) is not None]
    return function(known) if known else None


def slowest(jobs, limit=SLOWEST):
    """Return the jobs that took longest, the longest first."""
    return sorted(jobs, key=lambda job: -job.seconds)[:limit]
