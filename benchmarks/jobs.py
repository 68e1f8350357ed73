"""What a job costs beside its work, one micrograph a process and many: seconds and CPU seconds.

    python benchmarks/jobs.py [--directory SCRATCH] [--micrographs 24] [--per-job 24] [--cores 2]
                              [--slurm PROFILE -- ARGUMENTS]

Simulated micrographs of 512 x 512 px, on which there is next to nothing to do, are cut and denoised
by the workflow; the run of a step that has nothing to do is taken off. With --slurm the shards go
through that cluster (tests/cluster/loopback_slurm.py starts one here) and the waiting counts, too.
CPU seconds are those of Snakemake and of all that it started here; the nodes' are not among them.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
PROFILE = REPOSITORY / "workflow" / "profiles" / "default"
CONFIG = {
    "simulation": {"height_px": 512, "width_px": 512, "particles": 4},
    "patches": {"size_px": 256, "stride_px": 256},
    "model": {
        "simple_cnn": {"epochs": 1, "device": "cpu"},
        "s2d_unet": {"epochs": 1, "device": "cpu"},
    },
    "denoised": {"device": "cpu"},
}


def main():
    """Measure, print a table and write benchmarks/results/jobs.json."""
    options = parse()
    results = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "micrographs": options.micrographs,
        "load_average_before": os.getloadavg()[0],
        "rows": [],
    }
    with tempfile.TemporaryDirectory(dir=options.directory) as scratch:
        base = Path(scratch) / "base"
        local = ["--workflow-profile", str(PROFILE), "--cores", str(options.cores)]
        write_config(base, options.micrographs, 1)
        run(base, local, "micrographs")
        for per_job in (1, options.per_job):
            folder = Path(shutil.copytree(base, Path(scratch) / str(per_job)))
            write_config(folder, options.micrographs, per_job)
            results["rows"].append(measured(folder, local, "shards", f"--cores {options.cores}"))
            run(folder, local, "model")
            row = measured(folder, local, "denoised", f"--cores {options.cores}")
            results["rows"].append(row)
            if options.slurm:
                shutil.rmtree(folder / "results" / "shards")
                cluster = ["--workflow-profile", options.slurm, *options.arguments]
                cluster += ["--config", f"micrographs_per_job={per_job}"]
                results["rows"].append(measured(folder, cluster, "shards", "Slurm"))
            for row in results["rows"]:
                row.setdefault("per_job", per_job)
    results["load_average_after"] = os.getloadavg()[0]
    report(results)


def parse():
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--micrographs", type=int, default=24)
    parser.add_argument("--per-job", type=int, default=24)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--slurm", metavar="PROFILE")
    parser.add_argument("arguments", nargs="*", help="more for Snakemake with --slurm, after --")
    return parser.parse_args()


def write_config(folder, count, per_job):
    """Write the configuration of a run."""
    folder.mkdir(exist_ok=True)
    config = CONFIG | {"micrographs_per_job": per_job, "parity": {"implementations": {}}}
    config["simulation"] = config["simulation"] | {"count": count}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def run(folder, arguments, target):
    """Run Snakemake; return (wall seconds, CPU seconds of it and its descendants)."""
    words = [sys.executable, "-m", "snakemake", "--directory", str(folder), target, *arguments]
    started = time.perf_counter()
    with open(folder / f"{target}.said", "ab") as said:
        process = subprocess.Popen(words, cwd=REPOSITORY, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"failed: {' '.join(words)}\n{(folder / f'{target}.said').read_text()[-3000:]}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def measured(folder, arguments, target, where):
    """Return what the jobs of a step cost, without what a run with nothing to do does."""
    done, idle = run(folder, arguments, target), run(folder, arguments, target)
    seconds, cpu_seconds = (a - b for a, b in zip(done, idle, strict=True))
    return {
        "step": target,
        "where": where,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
    }


def report(results):
    """Print the table, and write it and the JSON beside the others."""
    lines = [
        "| step | where | micrographs a job | micrographs a second | CPU seconds a micrograph |",
        "|---|---|---|---|---|",
    ]
    count = results["micrographs"]
    for row in results["rows"]:
        row["micrographs_per_s"] = round(count / row["seconds"], 3)
        row["cpu_seconds_per_micrograph"] = round(row["cpu_seconds"] / count, 3)
        names = ("step", "where", "per_job", "micrographs_per_s", "cpu_seconds_per_micrograph")
        lines.append("| " + " | ".join(str(row[name]) for name in names) + " |")
    load = f"{results['load_average_before']:.1f} to {results['load_average_after']:.1f}"
    text = "\n".join(lines) + f"\n\n{count} micrographs, {results['machine']}, load {load}.\n"
    print(text)
    folder = REPOSITORY / "benchmarks" / "results"
    (folder / "jobs.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "jobs.md").write_text(text)


if __name__ == "__main__":
    main()
