"""What does a second release of an EMPIAR entry cost? What is new or changed in it, nothing else.

    python benchmarks/growing_entry.py FOLDER [--output JSON] [--cores 2] [--target all]

A stand-in for EMPIAR on this machine publishes the real pairs of FOLDER (X_frame.mrc and
X_rest.mrc, six of them or more) as an entry: all but the last two, one frame of them of twice the
gain. The whole workflow runs over a network that fails: 503, a stall, connections that are cut,
wrong ranges, redirects. Then the second release adds the two pairs and replaces the frame, and the
workflow runs again; then with nothing new; then with the archive out of reach. Requests, bytes,
jobs, wall time and CPU seconds (of all processes) of each run. Exit status 1 if a run fails or
fetches what it has.
"""

import argparse
import datetime
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "workflow" / "scripts"), str(REPOSITORY / "tests")]

from clearice.dataset.verification import dataset_faults  # noqa: E402
from faults.archive_server import running_archive  # noqa: E402

ENTRY, DIRECTORY = "10146", "data/averages"
FOLDER = f"/{ENTRY}/{DIRECTORY}/"
DAY = datetime.datetime(2024, 5, 17, 10, 30, tzinfo=datetime.UTC)
LATER = DAY + datetime.timedelta(days=7)
HEADER_BYTES = 1024
DESCRIPTION = {
    "title": "Apoferritin, one frame and the mean of the others (stand-in)",
    "release_date": "2024-05-17",
    "imagesets": [
        {
            "directory": DIRECTORY,
            "category": "micrographs - single frame",
            "pixel_width": 1.5,
            "image_width": "1240",
            "image_height": "1200",
            "details": "0.8 e-/A^2 per frame",
        }
    ],
}


def settings(url):
    """Return the configuration of the run: small, of all steps."""
    return {
        "micrographs": {"source": "empiar", "halves": {"input": "_frame", "target": "_rest"}},
        "empiar": {
            "entry": ENTRY,
            "directory": DIRECTORY,
            "base_url": url,
            "api_url": f"{url}/api",
            "connections": 2,
        },
        "patches": {"size_px": 128, "stride_px": 256},
        "model": {
            "simple_cnn": {"epochs": 1, "device": "cpu", "swap_halves": False},
            "s2d_unet": {"epochs": 1, "device": "cpu", "swap_halves": False},
        },
        "reference": {"steps": 5, "crop_px": 64},
        "parity": {
            "implementations": {
                "numpy": {"command": "{python} {repository}/workflow/implementations/numpy_cnn.py"}
            }
        },
        "denoised": {"device": "cpu"},
    }


def other_gain(content):
    """Return an MRC file of float16 without an extended header, its pixels times two."""
    pixels = np.frombuffer(content, "<f2", offset=HEADER_BYTES)
    return content[:HEADER_BYTES] + (2 * pixels).astype("<f2").tobytes()


def failing_network(archive, names):
    """Return what goes wrong with each of the first files, once for each fault."""
    faults = {f"{FOLDER}{name}": [] for name in names}
    paths = list(faults)
    faults[paths[0]] = ["503", "cut short"]
    faults[paths[1]] = ["hang up", "another range"]
    faults[paths[2]] = [None, "stall"]
    faults[paths[3]] = [f"redirect to {archive.url}/mirror", f"redirect to {archive.url}/mirror"]
    archive.files["/mirror"] = archive.files[paths[3]]
    faults[FOLDER] = ["cut short"]

    def misbehave(request):
        waiting = faults.get(request["path"])
        return waiting.pop(0) if waiting else None

    return misbehave


def snakemake(folder, cores, *arguments):
    """Run the workflow; return (what it printed, facts about it)."""
    profile = REPOSITORY / "workflow" / "profiles" / "default"
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", profile]
    command += ["--cores", cores, "--directory", folder, *arguments]
    begun, used = time.monotonic(), cpu_s()
    process = subprocess.run(
        list(map(str, command)),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "no_proxy": "127.0.0.1"},
    )
    facts = {
        "status": process.returncode,
        "wall_s": round(time.monotonic() - begun, 1),
        "cpu_s": round(cpu_s() - used, 1),
        "jobs": jobs(process.stdout),
        "notes": re.findall(r"^(?:note|warning): .*", process.stdout, re.M),
    }
    if process.returncode:
        print(process.stdout[-5000:], file=sys.stderr)
    return process.stdout, facts


def cpu_s():
    """Return the CPU seconds of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def jobs(printed):
    """Return rule -> number of jobs in the last table that Snakemake printed."""
    if "Job stats:" not in printed:
        return {}
    table = printed.split("Job stats:")[-1].split("\n\n")[0].splitlines()[3:]
    return {row.split()[0]: int(row.split()[1]) for row in table if len(row.split()) == 2}


def main():
    """Run the releases; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--target", default="all", help="where to stop, for example: dataset")
    options = parser.parse_args()
    pairs = sorted(path.stem.removesuffix("_frame") for path in options.folder.glob("*_frame.mrc"))
    content = {
        f"{pair}_{half}.mrc": (options.folder / f"{pair}_{half}.mrc").read_bytes()
        for pair in pairs
        for half in ("frame", "rest")
    }
    changed = f"{pairs[1]}_frame.mrc"
    later = [name for name in content if name.startswith(tuple(pairs[-2:]))]
    first = [name for name in content if name not in later]
    runs = {}
    with tempfile.TemporaryDirectory() as folder, running_archive() as archive:
        Path(folder, "config.yaml").write_text(yaml.safe_dump(settings(archive.url)))
        archive.files[f"/api/EMPIAR-{ENTRY}/"] = json.dumps(
            {f"EMPIAR-{ENTRY}": DESCRIPTION}
        ).encode()

        def run(title, *arguments):
            since = len(archive.requests)
            _, facts = snakemake(folder, options.cores, *arguments, options.target)
            asked = archive.traffic(since)
            facts["requests"] = sum(number for number, _ in asked.values())
            facts["bytes"] = sum(sent for _, sent in asked.values())
            facts["asked"] = {path.rpartition("/")[2] or path: n for path, (n, _) in asked.items()}
            facts["dataset_faults"] = dataset_faults(Path(folder, "results/dataset"))
            runs[title] = facts
            print(title, json.dumps(facts, indent=1), flush=True)

        for name in first:
            archive.publish(
                FOLDER + name, other_gain(content[name]) if name == changed else content[name], DAY
            )
        archive.misbehave = failing_network(archive, first)
        run("first release, failing network")
        archive.misbehave = lambda request: None
        for name in [*later, changed]:
            archive.publish(FOLDER + name, content[name], LATER)
        run("second release, dry run", "--dry-run")
        run("second release")
        run("nothing new")
        archive.misbehave = lambda request: "hang up"
        run("out of reach")
        there = {name: Path(folder, "results/micrographs", name).read_bytes() for name in content}
    fetched = {name for name in runs["second release"]["asked"] if name.endswith(".mrc")}
    good = there == content and fetched == {*later, changed}
    good &= not any(facts["status"] or facts["dataset_faults"] for facts in runs.values())
    if options.output:
        machine = {
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
            "python": platform.python_version(),
        }
        result = {
            "machine": machine,
            "files": {n: len(c) for n, c in content.items()},
            "runs": runs,
        }
        options.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
