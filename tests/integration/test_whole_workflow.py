"""A tiny full run, then what a user does next: run again, lose a file, add a file."""

import json
import os
import re
import shutil

import mrcfile
import numpy as np
import pytest

from conftest import TINY_CONFIG, planned_jobs, run_snakemake, write_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run in a folder outside the repository."""
    directory = tmp_path_factory.mktemp("run")
    write_config(directory, TINY_CONFIG)
    run_snakemake(directory, "--cores", "2")
    return directory


def test_every_step_left_its_results(run):
    results = run / "results"
    for name in ("sim_0001", "sim_0002", "sim_0003"):
        with mrcfile.open(results / f"denoised/{name}.mrc") as denoised:
            assert denoised.data.shape == (192, 256)
            assert np.isfinite(denoised.data).all()
            assert denoised.voxel_size.x == pytest.approx(3.0)
        assert json.loads((results / f"shards/{name}.json").read_text())["n_patches"] == 12
    assert json.loads((results / "parity/numpy/verdict.json").read_text())["verdict"] == "passed"
    assert (results / "model/simple_cnn/denoiser.safetensors").stat().st_size > 4 * 2625
    summary = json.loads((results / "validation/summary.json").read_text())
    assert summary["micrographs"] == len(list((results / "validation").glob("sim_*.json"))) == 1
    assert summary["values"]["snr_db_denoised"]["count"] == 1
    page = (results / "report/index.html").read_text()
    assert "sim_0001" in page
    assert "passed" in page


def test_the_dataset_is_what_a_fortran_program_expects(run):
    dataset = run / "results/dataset"
    manifest = json.loads((dataset / "manifest.json").read_text())
    assert {s: m["n_patches"] for s, m in manifest["splits"].items()} == {"train": 24, "test": 12}
    for split, described in manifest["splits"].items():
        for half in ("input", "target"):
            path = dataset / f"{split}_{half}.bin"
            assert path.stat().st_size == described["n_patches"] * 64 * 64 * 4


def test_snakemakes_own_report_shows_the_results_and_loads_nothing(run, tmp_path):
    run_snakemake(run, "--report", str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text()
    shown = {"index.html", "loss.svg", "examples.png", "micrographs.tsv", "verdict.txt"}
    assert {name for name in shown if f'"name": "{name}"' in page} == shown
    assert "Fourier ring correlation with the raw other half" in page  # a caption
    tags = re.findall(r"<(?:script|link|img|iframe)[^>]*", page)
    assert tags
    assert not [tag for tag in tags if re.search(r"(?:src|href)=[\"']?(?:https?:)?//", tag)]


def test_a_second_run_has_nothing_to_do(run):
    assert planned_jobs(run) == {}


def test_at_the_end_stands_what_came_out_and_where_the_report_is(run):
    page = str(run / "results/report/index.html")
    made = run_snakemake(run, "--cores", "2", "--forcerun", "report").stdout
    assert made.count(page) == 1
    lines = made[made.index("micrographs  ") :].splitlines()
    assert re.match(r"micrographs +3 used, 0 rejected", lines[0])
    assert any(line.startswith("parity numpy") for line in lines)
    assert f"the report is as it was: {page}\n" in run_snakemake(run, "--cores", "2").stdout


@pytest.mark.parametrize(
    "arguments",
    [("--dry-run", "--forcerun", "report"), ("dataset",), ("--quiet", "all"), ("--touch",)],
)
def test_nothing_is_said_of_the_report_where_none_was_asked_for(run, arguments):
    said = run_snakemake(run, "--cores", "2", *arguments).stdout
    assert "the report is" not in said
    assert "3 used" not in said


@pytest.mark.parametrize(
    ("lost", "remade", "kept"),
    [
        ("validation/summary.json", {"sum_up_validation": 1}, {"validate_micrograph"}),
        ("denoised/sim_0002.mrc", {"denoise_micrograph": 1, "report": 1}, {"train_denoiser"}),
        ("report/index.html", {"report": 1}, {"draw_micrographs"}),
        ("report/loss.svg", {"report": 1}, {"draw_micrographs"}),
        ("report/drawn.tsv", {"draw_micrographs": 1, "report": 1}, {"denoise_micrograph"}),
        ("parity/numpy/verdict.json", {"compare_implementation": 1}, {"run_implementation"}),
        ("model/simple_cnn/history.tsv", {"train_denoiser": 1}, {"concatenate_shards"}),
        ("dataset/test_target.bin", {"concatenate_shards": 1}, {"shard_micrograph"}),
        ("shards/sim_0001.input.bin", {"shard_micrograph": 1}, {"simulate_micrograph"}),
        ("micrographs/sim_0003_ODD.mrc", {"simulate_micrograph": 1, "shard_micrograph": 1}, set()),
    ],
)
def test_a_lost_file_and_its_dependents_are_remade_and_nothing_else(run, lost, remade, kept):
    path = run / "results" / lost
    aside = path.with_name(path.name + ".aside")
    path.rename(aside)
    try:
        jobs = planned_jobs(run)
    finally:
        aside.rename(path)
    assert remade.items() <= jobs.items()
    assert not kept & set(jobs)


def test_a_new_micrograph_costs_one_shard_and_a_broken_one_is_listed(run):
    """A copy of the run continues from files: the old pairs, a new one and a truncated one."""
    directory = run.with_name("grown")
    shutil.copytree(run, directory)
    config = {
        **TINY_CONFIG,
        "micrographs": {
            "source": "files",
            "files": ["results/micrographs/*_EVN.mrc", "results/micrographs/*_ODD.mrc"],
            "halves": {"input": "_EVN", "target": "_ODD"},
            "max_rejected_fraction": 0.5,
        },
    }
    write_config(directory, config)
    run_snakemake(directory, "--cores", "2", "shards")  # the same files now count as the user's own
    results = directory / "results"
    for half in ("EVN", "ODD"):
        source = results / f"micrographs/sim_0001_{half}.mrc"
        with mrcfile.open(source, permissive=True) as old:
            flipped, voxel = np.ascontiguousarray(old.data[::-1]), old.voxel_size.x
        with mrcfile.new(results / f"micrographs/new_{half}.mrc") as new:
            new.set_data(flipped)
            new.voxel_size = voxel
        broken = results / f"micrographs/broken_{half}.mrc"
        broken.write_bytes(source.read_bytes()[:5000])
        os.utime(broken, (0, 0))  # nobody writes to it any more
    assert planned_jobs(directory)["shard_micrograph"] == 2
    run_snakemake(directory, "--cores", "2")
    table = (results / "dataset/micrographs.tsv").read_text()
    (line,) = [row for row in table.splitlines() if row.startswith("broken\t")]
    assert "rejected" in line
    assert "truncated" in line
    assert not (results / "denoised/broken.mrc").exists()
    assert (results / "denoised/new.mrc").exists()
    assert "broken" in (results / "report/index.html").read_text()
    assert planned_jobs(directory) == {}
