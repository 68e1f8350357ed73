"""A run folder with thousands of micrographs, as it is before a run or after one; no pixel is cut.

Micrographs are pairs of sparse files: a right header, and one pixel that no other has. Results are
what a run would leave, as far as planning looks: every file of every rule, sparse where large; the
record of each shard is that of one real shard under another name; Snakemake's own records are
written by Snakemake, the seals by the function that seals results.
"""

import copy
import json
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml

from clearice.config import complete_config, trained_architectures
from clearice.dataset.micrograph_table import micrograph_table
from clearice.dataset.splits import split_of
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.reference.names import bundle_files
from clearice.shards.record import write_record
from clearice.shards.sharding import shard_micrograph

REPOSITORY = Path(__file__).resolve().parent.parent
SIDE_PX = 256  # small, or the check for room on the disk stops the run
CONFIG = """
micrographs: {source: files, files: "micrographs/*.mrc", halves: {input: _EVN, target: _ODD}}
patches: {size_px: 128, stride_px: 128}
"""
COMPLETE = complete_config(yaml.safe_load(CONFIG))

# A dry run that records and seals the results of every job as those of one that has finished.
RECORD = """
import os, sys
from snakemake.cli import main
from snakemake.dag import DAG

sys.path.insert(0, "workflow/scripts")
from clearice.seals import made_with, seal

plan = DAG.postprocess


async def plan_and_record(dag, *arguments, **keywords):
    await plan(dag, *arguments, **keywords)
    for job in dag.jobs:
        made = made_with(job.params.items(), job.input)
        for path in map(str, job.output):
            hashes = None if os.path.isdir(path) else [(os.path.getsize(path), "0" * 16)]
            seal(path, job.rule.name, made, None, hashes)
        await dag.workflow.persistence.finished(job)


DAG.postprocess = plan_and_record
main()
"""


def make_folder(folder, count):
    """Make a run folder with `count` micrographs, nothing done yet."""
    folder = Path(folder)
    (folder / "micrographs").mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    add_micrographs(folder, range(count))


def add_micrographs(folder, numbers):
    """Add the micrographs with those numbers; return their names."""
    header, n_bytes = _header(folder)
    names = []
    for number in numbers:
        names.append(f"position_{number:06d}")
        for side, half in enumerate(("EVN", "ODD")):
            with open(Path(folder, "micrographs", f"{names[-1]}_{half}.mrc"), "wb") as file:
                file.write(header)
                file.truncate(n_bytes)
                file.seek(len(header) + SIDE_PX // 2 * SIDE_PX * 4)
                file.write(struct.pack("<f", 1 + 2 * number + side))
    return names


def remove_micrographs(folder, names):
    """Remove micrographs that were added."""
    for name in names:
        for half in ("EVN", "ODD"):
            Path(folder, "micrographs", f"{name}_{half}.mrc").unlink()


def _header(folder):
    """Return the header of a micrograph and the bytes of its file."""
    path = Path(folder, "blank.mrc")
    rows = (np.zeros(SIDE_PX, np.float32) for _ in range(SIDE_PX))
    write_micrograph(path, rows, SIDE_PX, SIDE_PX, pixel_size_angstrom=1.0, label="benchmark")
    n_bytes = path.stat().st_size
    with open(path, "rb") as file:
        header = file.read(n_bytes - 4 * SIDE_PX**2)
    path.unlink()
    return header, n_bytes


def finish(folder, names):
    """Write the results of all steps for the micrographs `names`, as after a run."""
    folder = Path(folder)
    record, shard_bytes = _one_record()
    records = []
    for name in names:
        mine = copy.deepcopy(record) | {"micrograph": name}
        for side, half in (("input", "EVN"), ("target", "ODD")):
            digest = f"{name}{half}".encode().hex()[-16:]
            mine[side] |= {"path": f"micrographs/{name}_{half}.mrc", "pixels_xxh3": digest}
            _file(folder / f"results/shards/{name}.{side}.bin", shard_bytes)
        write_record(folder / f"results/shards/{name}.json", mine)
        _job(folder / f"results/shards/{name}")
        records.append(mine)
    splits = split_of(names, 0.1, 0)
    table = folder / "results/dataset/micrographs.tsv"
    table.parent.mkdir(parents=True)
    table.write_text(micrograph_table(records, splits, {}))
    held_out = [name for name in names if splits[name] == "test"]
    for path in _later_results(names, held_out):
        _file(folder / path)
    for job in _later_jobs(names, held_out):
        _job(folder / job)
    words = [sys.executable, "-c", RECORD, "--cores", "1", "--dry-run"]
    profile = ["--workflow-profile", "workflow/profiles/default", "--directory", folder.resolve()]
    done = subprocess.run([*words, *profile], cwd=REPOSITORY, capture_output=True, text=True)
    if "Nothing to be done" not in done.stdout + done.stderr:
        raise SystemExit(f"no finished run: {done.stdout[-3000:]}{done.stderr[-3000:]}")


def _one_record():
    """Return the record of one real shard of noise, and the bytes of its binaries."""
    noise = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        halves = [Path(name, f"{half}.mrc") for half in ("EVN", "ODD")]
        for path in halves:
            rows = (noise.standard_normal(SIDE_PX, np.float32) for _ in range(SIDE_PX))
            write_micrograph(path, rows, SIDE_PX, SIDE_PX, pixel_size_angstrom=1.0, label="noise")
        outputs = [Path(name, f"shard.{end}") for end in ("input.bin", "target.bin", "json")]
        shard_micrograph(
            str(halves[0]), *outputs, "noise", COMPLETE["patches"], target=str(halves[1])
        )
        return json.loads(outputs[2].read_text()), outputs[0].stat().st_size


def _file(path, n_bytes=2):
    """Make a sparse file of that size; a JSON one is valid."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        file.write("{}")
        file.truncate(n_bytes)


def _job(stem):
    """Make the log and the benchmark of a job."""
    for end in ("log", "benchmark.tsv"):
        _file(Path(f"{stem}.{end}"))


def _later_results(names, held_out):
    """Return the results of the steps after the shards but for the table of micrographs."""
    dataset = ("train.json", "test.json", "manifest.json", "manifest.nml")
    binaries = [
        f"{split}_{side}.bin" for split in ("train", "test") for side in ("input", "target")
    ]
    rule = (REPOSITORY / "workflow" / "rules" / "report.smk").read_text()
    report = {"index.html", "summary.json", "drawn.tsv", "micrographs/order.js"}
    report |= set(re.findall(r'"([\w.]+\.(?:svg|png|tsv|md))"', rule))
    verdict = ("output/result.json", "verdict.json", "verdict.txt", "junit.xml")
    model = ("denoiser.safetensors", "history.tsv", "training.json")
    return [
        *(f"results/dataset/{name}" for name in (*dataset, *binaries)),
        *(f"results/model/{a}/{name}" for a in trained_architectures(COMPLETE) for name in model),
        *(f"results/reference/{name}" for name in bundle_files()),
        *(f"results/fortran/clearice_{name}" for name in ("parity", "train", "load")),
        *(
            f"results/parity/{i}/{name}"
            for i in COMPLETE["parity"]["implementations"]
            for name in verdict
        ),
        *(f"results/denoised/{name}.{end}" for name in names for end in ("mrc", "json")),
        *(f"results/validation/{name}.json" for name in (*held_out, "summary")),
        *(f"results/report/{name}" for name in report),
        "results/parity/summary.json",
    ]


def _later_jobs(names, held_out):
    """Return the names of the logs and benchmarks of those jobs, without their ends."""
    dataset = ("list_micrographs", "write_manifest", "concatenate_shards.train")
    parity = ("run_implementation", "compare_implementation")
    return [
        *(f"results/dataset/{name}" for name in (*dataset, "concatenate_shards.test")),
        *(f"results/model/{a}/train_denoiser" for a in trained_architectures(COMPLETE)),
        *(
            f"results/parity/{i}/{name}"
            for i in COMPLETE["parity"]["implementations"]
            for name in parity
        ),
        *(f"results/denoised/{name}" for name in names),
        *(f"results/validation/{name}" for name in held_out),
        *("results/export_reference", "results/fortran/build_fortran", "results/report/report"),
        "results/report/draw_micrographs",
        *("results/sum_up_validation", "results/parity/require_parity"),
    ]
