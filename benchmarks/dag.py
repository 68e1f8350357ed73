"""What planning costs with 200, 1,000 and 10,000 micrographs: CPU seconds, peak memory, growth.

    python benchmarks/dag.py [--directory SCRATCH] [--counts 200 1000 10000] [--keep]

Measured: `clearice plan` and a dry run before anything is done; then, with all results there, a dry
run with nothing to do, and a run that takes in one new pair of micrographs, up to the start of its
first job (which is then stopped). The folders are those of dag_folder.py: 10,000 pairs of 256 x
256 px, whose pixels are holes.

CPU seconds and peak memory are those of the child and of its children (wait4). The exponent is that
of the last step: log of the ratio of the costs over log of the ratio of the counts, both less the
cost of the start, which is that of the smallest count. Exit status 1 if a bound is broken.
"""

import argparse
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dag_folder import add_micrographs, finish, make_folder, remove_micrographs
from sharding import machine

REPOSITORY = Path(__file__).resolve().parent.parent
PROFILE = REPOSITORY / "workflow" / "profiles" / "default"
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--workflow-profile", str(PROFILE), "--cores", "2"]
# At 10,000 micrographs.
BOUNDS = {
    "dry run": {"cpu_s": 30, "peak_mib": 500},
    "one new file": {"first_job_s": 30},
    "plan": {"cpu_s": 10},
}
# This process is larger than the children, whose ru_maxrss would start from its own.
LAUNCH = """
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
_, status, usage = os.wait4(process.pid, 0)
figures = [os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss]
with open(sys.argv[1], "w") as file:
    json.dump(figures, file)
"""


def cost_of(command, until=None):
    """Run a command in the repository; return its exit status, CPU s, peak MiB and wall s.

    With `until`, a path, it is interrupted as soon as that exists; `first_job_s` says when.
    """
    with tempfile.NamedTemporaryFile() as report:
        words = [sys.executable, "-c", LAUNCH, report.name, *map(str, command)]
        start, first = time.perf_counter(), None
        process = subprocess.Popen(words, cwd=REPOSITORY, start_new_session=True)
        while process.poll() is None:
            if until and first is None and until.exists():
                first = time.perf_counter() - start
                _interrupt_children(process.pid)
            time.sleep(0.02)
        seconds = time.perf_counter() - start
        status, cpu_s, peak_kib = json.loads(Path(report.name).read_text())
    figures = {
        "exit_status": status,
        "cpu_s": round(cpu_s, 1),
        "peak_mib": round(peak_kib / 1024),
        "wall_s": round(seconds, 1),
    }
    return figures | ({} if first is None else {"first_job_s": round(first, 1)})


def _interrupt_children(pid):
    """Send SIGINT to the child of the launcher, as Ctrl-C does: its jobs end, too."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in map(int, children):
        os.kill(child, signal.SIGINT)


def measure(folder, count):
    """Return action -> figures for that many micrographs, in an empty folder."""
    make_folder(folder, count)
    dry_run = [*SNAKEMAKE, "--directory", folder, "--dry-run"]
    rows = {
        "plan": cost_of([sys.executable, "-m", "clearice", "plan", "--directory", folder]),
        "dry run": cost_of(dry_run),
    }
    finish(folder, [f"position_{number:06d}" for number in range(count)])
    rows["nothing to do"] = cost_of(dry_run)
    new = add_micrographs(folder, [count])
    rows["dry run, one new file"] = cost_of(dry_run)
    log = folder / f"results/shards/{new[0]}.log"
    rows["one new file"] = cost_of([*SNAKEMAKE, "--directory", folder], until=log)
    remove_micrographs(folder, new)
    return rows


def exponent(counts, costs):
    """Return the power of the count that costs grow with over the last step, the start left out."""
    (first, middle, last), (start, small, large) = counts[-3:], costs[-3:]
    per_file = (small - start) / (middle - first)
    fixed = start - per_file * first
    return round(math.log((large - fixed) / (small - fixed)) / math.log(last / middle), 2)


def broken_bounds(rows):
    """Return a line for each bound that a row for 10,000 micrographs breaks."""
    return [
        f"{action} of {row['micrographs']:,}: {key} {row.get(key)}, bound {most}"
        for row in rows
        for action, bounds in BOUNDS.items()
        for key, most in bounds.items()
        if row["action"] == action and row["micrographs"] == 10_000
        if not row.get(key, math.inf) <= most
    ]


def markdown(result):
    """Return the page of the figures."""
    about = result["machine"]
    lines = [
        "# Planning: CPU time and memory by the number of micrographs",
        "",
        f"{about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB, {about['system']}, "
        f"Python {about['python']}; load when it began: {about['load_at_start']}. One run each. "
        "Each micrograph is a pair of 256 x 256 px.",
        "",
        "| what | micrographs | CPU (s) | peak memory (MiB) | wall (s) | first job after (s) |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        lines.append(
            f"| {row['action']} | {row['micrographs']:,} | {row['cpu_s']} | {row['peak_mib']} "
            f"| {row['wall_s']} | {row.get('first_job_s', '')} |"
        )
    lines += ["", "Growth, as a power of the number of micrographs (1 is linear):", ""]
    lines += [f"- {action}: {power}" for action, power in result["exponents"].items()]
    return "\n".join(lines) + "\n"


def main():
    """Measure all counts, print a table, store JSON and a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, help="scratch (default: a temporary folder)")
    parser.add_argument("--counts", type=int, nargs="+", default=[200, 1_000, 10_000])
    parser.add_argument("--keep", action="store_true", help="keep the folders")
    parser.add_argument(
        "--output", type=Path, default=REPOSITORY / "benchmarks" / "results" / "dag.json"
    )
    arguments = parser.parse_args()
    result, rows = {"machine": machine(), "bounds": BOUNDS}, []
    scratch = arguments.directory or Path(tempfile.mkdtemp())
    for count in arguments.counts:
        folder = scratch / f"run{count}"
        for action, figures in measure(folder, count).items():
            rows.append({"action": action, "micrographs": count, **figures})
            print(*(f"{key} {value}" for key, value in rows[-1].items()), sep=", ", flush=True)
        if not arguments.keep:
            shutil.rmtree(folder)
    result["rows"], result["exponents"] = rows, {}
    if len(arguments.counts) >= 3:
        for action in dict.fromkeys(row["action"] for row in rows):
            costs = [row["cpu_s"] for row in rows if row["action"] == action]
            result["exponents"][action] = exponent(arguments.counts, costs)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    arguments.output.with_suffix(".md").write_text(markdown(result))
    broken = broken_bounds(rows)
    for line in broken:
        print(f"bound broken: {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
