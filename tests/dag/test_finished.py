"""Micrographs whose shards are finished cost no planning, and any doubt brings their jobs back."""

import subprocess
import sys

import pytest

from conftest import REPOSITORY, planned_jobs, run_snakemake, write_config

COUNT = 4
# A dry run that says how many jobs Snakemake looked at.
COUNTED = """
from snakemake.cli import main
from snakemake.jobs import Job
looked_at, make = set(), Job.__init__
def counted(job, rule, *arguments, **keywords):
    make(job, rule, *arguments, **keywords)
    looked_at.add((rule.name, tuple(job.output)))
Job.__init__ = counted
try:
    main()
finally:
    print("looked at", len(looked_at))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder whose shards are there."""
    folder = tmp_path_factory.mktemp("run")
    config = {
        "simulation": {"count": COUNT, "height_px": 128, "width_px": 128, "particles": 1},
        "patches": {"size_px": 64, "stride_px": 64},
        "validation": {"enabled": False},
    }
    write_config(folder, config)
    run_snakemake(folder, "--cores", "2", "shards")
    return folder


def jobs_looked_at(folder, *arguments):
    """Return how many jobs Snakemake makes for a dry run."""
    words = ["--directory", str(folder), "--cores", "2", "--dry-run", *arguments]
    process = subprocess.run(
        [sys.executable, "-c", COUNTED, *words],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return int(process.stdout.rsplit("looked at", 1)[1])


def test_finished_shards_are_not_looked_at(run):
    assert jobs_looked_at(run, "shards") == 1  # the target itself


def test_a_lost_file_brings_back_the_jobs_of_its_micrograph_alone(run):
    path = run / "results/shards/sim_0002.target.bin"
    aside = path.rename(path.with_suffix(".aside"))
    assert planned_jobs(run, "shards") == {"shard_micrograph": 1, "shards": 1}
    assert jobs_looked_at(run, "shards") == 3  # the target, the shard, its simulation
    aside.rename(path)


def test_a_newer_source_is_left_to_snakemake(run):
    assert jobs_looked_at(run, "shards") == 1
    (run / "results/micrographs/sim_0003_EVN.mrc").touch()
    assert jobs_looked_at(run, "shards") == 3


def test_other_settings_bring_back_all_shards_and_no_simulation(run):
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("stride_px: 64", "stride_px: 32"))
    assert planned_jobs(run, "shards") == {"shard_micrograph": COUNT, "shards": 1}
    (run / "config.yaml").write_text(config)


@pytest.mark.parametrize("option", [["--forcerun", "shard_micrograph"], ["--forceall"]])
def test_what_is_forced_runs(run, option):
    assert planned_jobs(run, "shards", *option)["shard_micrograph"] == COUNT


def test_a_shard_that_was_interrupted_runs_again(run):
    marker = run / ".snakemake/incomplete"
    name = "cmVzdWx0cy9zaGFyZHMvc2ltXzAwMDEuanNvbg=="  # results/shards/sim_0001.json
    marker.mkdir(exist_ok=True)
    (marker / name).touch()
    assert planned_jobs(run, "shards", "--rerun-incomplete")["shard_micrograph"] == 1
    (marker / name).unlink()
