"""Results that a crash, a disk or a hand damaged: what a run says, and what following it does."""

import json
import os
import re
import shlex
import shutil
import time
from pathlib import Path

import pytest

from clearice.command import verify
from clearice.inspection import sealed_results
from clearice.seals import has_its_time, seal_path
from conftest import TINY_CONFIG, planned_jobs, run_snakemake, write_config

pytestmark = pytest.mark.slow

CONFIG = TINY_CONFIG | {
    "micrographs_per_job": 4,  # PyTorch starts once for all of them
    "parity": {
        "implementations": {
            "numpy": {"command": "{python} {repository}/workflow/implementations/numpy_cnn.py"}
        }
    },
    "denoised": {"device": "cpu", "architecture": "simple_cnn"},
}
DAMAGES = {
    "shorter": lambda content: content[: len(content) // 2 * (len(content) % 2)],  # half, or empty
    "garbage": lambda content: bytes(255 - byte for byte in content),
}
# Files that hold times or what was measured: they are made again, with other numbers.
TIMED = {"parity", "validation", "report"}
TIMED_SUFFIXES = {".json", ".tsv", ".txt", ".xml"}
DAY_NS = 86400 * 10**9


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run folder whose results are all made; tests work on copies."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    write_config(directory, CONFIG)
    run_snakemake(directory, "--cores", "2")
    assert planned_jobs(directory) == {}
    return directory


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run; its binaries are links into the store again."""
    directory = shutil.copytree(finished, tmp_path / "run")
    for binary in (directory / "results/dataset").glob("*.bin"):
        binary.unlink()
        os.link(binary.parent / ".store" / binary.name, binary)
    return directory


def results_of_every_kind(run):
    """Return one sealed file of each suffix in each folder, relative to the run."""
    kinds = {}
    for path, sealed in sealed_results(run / "results"):
        file = path / sorted(sealed["files"])[0]
        if file.stat().st_size:
            kinds.setdefault((file.parent, file.suffix), file.relative_to(run))
    return sorted(kinds.values())


def fixed_bytes(run):
    """Return path -> content of the results that are the same whenever they are made."""
    found = {}
    for path, sealed in sealed_results(run / "results"):
        step = path.relative_to(run / "results").parts[0]
        timed = step in TIMED or (step in ("model", "denoised") and path.suffix in TIMED_SUFFIXES)
        for name in sealed["files"]:
            if not timed:
                found[path.relative_to(run) / name] = (path / name).read_bytes()
    return found


def refusal(run, *arguments):
    """Return the one line with which a run stops."""
    process = run_snakemake(run, "--cores", "2", *arguments, check=False)
    assert process.returncode == 1, process.stdout
    (line,) = [text for text in process.stdout.splitlines() if "not what was written" in text]
    assert "Traceback" not in process.stdout
    return line


@pytest.mark.parametrize("damage", ["shorter", pytest.param("garbage", marks=pytest.mark.long)])
def test_damaged_results_of_every_kind_are_named_and_made_again(run, damage):
    before, victims = fixed_bytes(run), results_of_every_kind(run)
    assert {path.suffix for path in victims} >= {".json", ".tsv", ".mrc", ".html", ".bin", ".nml"}
    for path in victims:
        (run / path).write_bytes(DAMAGES[damage]((run / path).read_bytes()))
    line = refusal(run)
    assert line.startswith(f"error: {len(victims)} results are not what was written: ")
    assert f"and {len(victims) - 10} more" in line
    assert not any((run / path).exists() for path in victims)
    run_snakemake(run, "--cores", "2")
    assert all((run / path).exists() for path in victims)
    assert fixed_bytes(run) == before
    assert planned_jobs(run) == {}
    assert not list(run.rglob("*.damaged"))


def test_the_command_in_the_line_makes_the_file_again(run):
    path = run / "results/dataset/manifest.json"
    content = path.read_bytes()
    path.write_text("")
    dry = run_snakemake(run, "--cores", "2", "--dry-run")
    assert "warning: 1 result is not what was written" in dry.stdout
    assert path.exists()
    line = refusal(run, "model")
    words = shlex.split(re.search(r"or: snakemake (.*)$", line)[1])
    run_snakemake(run, "--cores", "2", *words)
    assert path.read_bytes() == content
    assert planned_jobs(run) == {}


@pytest.mark.parametrize(
    ("damaged", "removed"),
    [
        ("model/simple_cnn/denoiser.safetensors", "denoised/sim_0001.mrc"),
        pytest.param(
            *("dataset/train_input.bin", "model/simple_cnn/history.tsv"), marks=pytest.mark.long
        ),
        pytest.param(*("dataset/manifest.json", "reference/manifest.json"), marks=pytest.mark.long),
        ("shards/sim_0001.json", "dataset/micrographs.tsv"),
    ],
)
def test_a_flipped_bit_behind_a_restored_time_stops_the_job_that_reads_it(run, damaged, removed):
    path, before = run / "results" / damaged, fixed_bytes(run)
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(status.st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 4]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    (run / "results" / removed).unlink()
    assert f"results/{damaged}" in refusal(run)
    run_snakemake(run, "--cores", "2")
    assert fixed_bytes(run) == before
    assert planned_jobs(run) == {}


def test_results_of_a_clock_that_was_ahead_get_times_of_today(run):
    """All that the run wrote is a day ahead, in its order; Snakemake compares times alone."""
    for path in (run / "results").rglob("*"):
        if path.is_file() and ".seals" not in path.parts and path.stat().st_nlink == 1:
            os.utime(path, ns=(path.stat().st_mtime_ns + DAY_NS,) * 2)
    for binary in (run / "results/dataset").glob("*.bin"):  # each has a second name in the store
        os.utime(binary, ns=(binary.stat().st_mtime_ns + DAY_NS,) * 2)
    for path, sealed in list(sealed_results(run / "results")):
        for entry in sealed["files"].values():
            entry["mtime_ns"] += DAY_NS
        seal_path(path).write_text(json.dumps(sealed))
    os.utime(run / "results/shards/sim_0002.json")  # as if made with the right clock
    for _ in range(2):
        process = run_snakemake(run, "--cores", "2")
        results = [path for path, _ in sealed_results(run / "results")]
        assert max(path.stat().st_mtime for path in results) <= time.time()
    assert "Nothing to be done" in process.stdout
    assert "train_denoiser" not in process.stdout


def test_one_file_of_the_future_reruns_nothing(run):
    for path in results_of_every_kind(run):
        os.utime(run / path, ns=(time.time_ns() + DAY_NS,) * 2)
    assert "Nothing to be done" in run_snakemake(run, "--cores", "2").stdout


def lose_records(run, how):
    records = [path for path in (run / ".snakemake/metadata").rglob("*") if path.is_file()]
    assert records
    if how == "removed":
        shutil.rmtree(run / ".snakemake")
    for record in records if how == "emptied" else ():
        os.truncate(record, 0)


def changed(**sections):
    """Return the configuration with these keys of its sections changed."""
    return {**CONFIG, **{name: {**CONFIG.get(name, {}), **c} for name, c in sections.items()}}


@pytest.mark.parametrize("how", ["removed", pytest.param("emptied", marks=pytest.mark.long)])
def test_lost_records_alone_rerun_nothing_and_with_other_settings_all_that_they_made(run, how):
    lose_records(run, how)
    assert planned_jobs(run) == {}
    write_config(run, changed(patches={"stride_px": 32}))
    jobs = planned_jobs(run)
    assert jobs["shard_micrograph"] == 3
    assert "simulate_micrograph" not in jobs


@pytest.mark.parametrize(
    ("config", "expected", "kept"),
    [
        (changed(simulation={"count": 4}), {"simulate_micrograph": 1}, set()),
        (changed(simulation={"count": 2}), {"list_micrographs": 1}, {"shard_micrograph"}),
        (changed(simulation={"seed": 1}), {"simulate_micrograph": 3}, set()),
        (changed(split={"seed": 1}), {"list_micrographs": 1}, {"shard_micrograph"}),
        (
            changed(model={"simple_cnn": {"epochs": 2, "device": "cpu"}}),
            {"train_denoiser": 1, "export_reference": 1},
            {"shard_micrograph", "write_manifest"},
        ),
        (
            changed(denoised={"average_halves": False}),
            {"denoise_micrograph": 3},
            {"train_denoiser"},
        ),
        (changed(reference={"steps": 4}), {"export_reference": 1}, {"train_denoiser"}),
    ],
)
def test_seals_remember_the_settings_that_snakemake_forgot(run, config, expected, kept):
    lose_records(run, "removed")
    write_config(run, config)
    jobs = planned_jobs(run)
    assert {rule: jobs.get(rule, 0) for rule in expected} == expected
    assert not kept & set(jobs)


def test_a_micrograph_that_left_leaves_the_dataset_though_records_are_lost(run):
    lose_records(run, "removed")
    write_config(run, changed(simulation={"count": 2}))
    run_snakemake(run, "--cores", "2", "dataset")
    parts = [json.loads((run / f"results/dataset/{s}.json").read_text()) for s in ("train", "test")]
    assert sum(len(part["segments"]) for part in parts) == 2


def test_verify_reads_all_results_and_sources(run, capsys):
    assert verify.main([str(run / "results")]) == 0
    reading, good = capsys.readouterr().out.splitlines()
    assert re.match(r"reading \d+ results, [\d.]+ GiB, and 6 sources, [\d.]+ GiB$", reading)
    assert re.search(r"every hash matches, in \d+ s$", good)
    damaged = ["report/index.html", "dataset/test_target.bin", "micrographs/sim_0001_EVN.mrc"]
    for name in damaged:
        path = run / "results" / name
        status, content = path.stat(), path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert verify.main([str(run / "results"), "--no-hashes"]) == 0
    capsys.readouterr()
    assert verify.main([str(run / "results")]) == 1
    lines = capsys.readouterr().out
    assert all(f"{name}: expected xxh3" in lines for name in damaged)
    assert "results/micrographs/sim_0001_EVN.mrc: a shard was cut from another file" in lines


def test_results_without_seals_are_taken_as_they_are(run):
    for folder in list(run.rglob(".seals")):
        shutil.rmtree(folder)
    assert planned_jobs(run) == {}


def test_after_a_run_every_result_has_the_time_of_its_seal(run):
    """Else every job would read again what it is given, and the start of a training all of it."""
    sealed = list(sealed_results(run / "results"))
    assert len(sealed) > 100
    for path, content in sealed:
        for name, entry in content["files"].items():
            status = (path / name).stat()
            assert has_its_time(path, content, entry, status), path / name


def test_the_seal_of_a_result_says_what_made_it(run):
    seal = json.loads(seal_path(Path(run, "results/shards/sim_0001.json")).read_text())
    assert seal["rule"] == "shard_micrograph"
    assert seal["made_with"]["params"]["patches"]["stride_px"] == 64
    assert len(seal["made_with"]["params"]["code"]) == 16
