"""Many micrographs a job: one process does them, and a cluster's job of them fails or dies."""

import os
import signal
import subprocess
import sys
import time

import pytest

from clearice.kept_results import FOLDER
from clearice.shards.record import read_shard_record
from conftest import REPOSITORY, planned_jobs, run_snakemake, write_config
from mrc_files import noise_image, write_mrc

KEPT = "kept from an earlier job, whose group failed\n"
NAMES = [f"m{number}" for number in range(5)]


@pytest.fixture
def run(tmp_path, tiny_config):
    """A run folder with five micrographs on disk, the third of which is truncated."""
    for number, name in enumerate(NAMES):
        write_mrc(tmp_path / f"{name}.mrc", noise_image(192, 256, number))
    bad = tmp_path / "m2.mrc"
    bad.write_bytes(bad.read_bytes()[:-1000])
    os.utime(bad, ns=(10**18, 10**18))  # long ago: nobody writes to it any more
    tiny_config |= {"micrographs_per_job": 5}
    tiny_config["micrographs"] = {"source": "files", "files": "*.mrc", "max_rejected_fraction": 0.5}
    tiny_config["patches"] |= {"target": "lowpass"}
    write_config(tmp_path, tiny_config)
    return tmp_path


def shard(folder, name, ending="json"):
    return folder / "results" / "shards" / f"{name}.{ending}"


def group_job(folder, names=NAMES):
    """Start what the job of a cluster starts for a group: one Snakemake, several jobs of a rule."""
    jobs = [f"shard_micrograph:micrograph={name}" for name in names]
    words = ["--cores", "1", "--mode", "remote", "--force", "--nolock", "--no-hooks"]
    words += ["--ignore-incomplete", "--allowed-rules", "shard_micrograph", "--target-jobs", *jobs]
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--directory", folder, *words],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def lose_results(folder):
    """Remove the results of all members, as Snakemake does with those of a failed group."""
    for name in NAMES:
        for ending in ("json", "input.bin", "target.bin"):
            shard(folder, name, ending).unlink(missing_ok=True)


def kept(folder):
    """Return the names of the micrographs whose finished shards are kept."""
    paths = shard(folder, "").parent.glob(f"{FOLDER}/*.kept.json")
    return {path.name.split(".")[0] for path in paths}


def taken(folder):
    """Return the names of the micrographs whose shards were not cut again."""
    logs = {name: shard(folder, name, "log").read_text() for name in NAMES}
    return {name for name, text in logs.items() if text.endswith(KEPT)}


def test_a_bad_micrograph_is_rejected_alone_and_the_number_a_job_changes_nothing(run, tiny_config):
    run_snakemake(run, "--cores", "1", "shards")
    status = {name: read_shard_record(shard(run, name))["status"] for name in NAMES}
    assert status == dict.fromkeys(NAMES, "ok") | {"m2": "rejected"}
    assert "rejected: " in shard(run, "m2", "log").read_text()
    assert all(shard(run, name, "benchmark.tsv").exists() for name in NAMES)
    assert kept(run) == set()
    for number in (1, 2):
        write_config(run, tiny_config | {"micrographs_per_job": number})
        assert planned_jobs(run, "shards") == {}
    (run / "m1.mrc").touch()
    assert planned_jobs(run, "shards")["shard_micrograph"] == 1


def test_of_a_group_that_fails_the_others_are_done_and_not_done_again(run, tiny_config):
    tiny_config["micrographs"]["on_error"] = "stop"
    write_config(run, tiny_config)
    process = group_job(run)
    _, said = process.communicate()
    assert process.returncode == 1
    assert "shard_micrograph: m2.mrc: " in said
    others = set(NAMES) - {"m2"}
    assert kept(run) == others
    inodes = {name: shard(run, name, "input.bin").stat().st_ino for name in others}
    lose_results(run)
    write_mrc(run / "m2.mrc", noise_image(192, 256, 2))
    run_snakemake(run, "--cores", "1", "shards")
    assert taken(run) == others
    assert {name: shard(run, name, "input.bin").stat().st_ino for name in others} == inodes
    assert kept(run) == set()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_finished_when_the_job_died_is_not_done_again(run, number):
    process = group_job(run)
    deadline = time.monotonic() + 120
    while len(kept(run)) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.002)
    os.killpg(process.pid, number)
    process.communicate()
    finished = kept(run)
    lose_results(run)
    run_snakemake(run, "--cores", "1", "shards")
    assert 2 <= len(finished) <= len(NAMES)
    assert taken(run) == finished
    assert {read_shard_record(shard(run, name))["micrograph"] for name in NAMES} == set(NAMES)
