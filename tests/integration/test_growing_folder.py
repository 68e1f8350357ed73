"""A folder that grows from week to week: what each run makes, what it leaves as it was, and says.

Each test is a later week of one run folder.
"""

import csv
import os
import subprocess
import sys
import time

import pytest

from clearice.dataset.verification import dataset_faults
from clearice.micrographs.waiting import STILL_WRITTEN
from clearice.run_records import read_runs
from conftest import planned_jobs, run_snakemake, write_config
from mrc_files import noise_image, write_mrc

pytestmark = pytest.mark.slow

CONFIG = {
    "micrographs_per_job": 10,  # PyTorch starts once for all of them
    "micrographs": {
        "source": "files",
        "files": "data/*.mrc",
        "halves": {"input": "_EVN", "target": "_ODD"},
        "max_rejected_fraction": 0.13,
    },
    "patches": {"size_px": 64, "stride_px": 64},
    "split": {"test_micrographs": "held_out.txt"},
    "model": {"simple_cnn": {"epochs": 1, "device": "cpu"}},
    "denoised": {"architecture": "simple_cnn", "device": "cpu"},
}
RUN = ("--cores", "2", "--scheduler", "greedy")
PATCH_BYTES = 4 * 64 * 64
# Writes a file as a slow copy does: a piece at a time, until its standard input is closed.
SLOW_COPY = """
import sys, threading, time
content, done = open(sys.argv[1], "rb").read(), threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
with open(sys.argv[2], "wb", buffering=0) as file:
    file.write(content[:1500])
    print("begun", flush=True)
    while not done.wait(0.05):
        file.write(content[file.tell() : file.tell() + 8])
    file.write(content[file.tell() :])
"""


def add_pair(folder, name):
    for half in ("EVN", "ODD"):
        seed = int.from_bytes(f"{name}{half}".encode()) % 2**32
        write_mrc(folder / "data" / f"{name}_{half}.mrc", noise_image(128, 192, seed))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("growing")
    (folder / "data").mkdir()
    write_config(folder, CONFIG)
    (folder / "held_out.txt").write_text("m1\n")
    for number in range(1, 5):
        add_pair(folder, f"m{number}")
    return folder


def statuses(folder):
    with open(folder / "results/dataset/micrographs.tsv", newline="", encoding="utf-8") as file:
        return {r["micrograph"]: r["status"] for r in csv.DictReader(file, delimiter="\t")}


def last_run(folder):
    return read_runs(folder / "results/runs")[-1]


def times(folder, pattern):
    return {path.name: path.stat().st_mtime_ns for path in sorted(folder.glob(pattern))}


def test_the_first_week(folder):
    assert planned_jobs(folder, "dataset")["shard_micrograph"] == 4
    assert not (folder / "results/runs").exists()  # a dry run leaves no record
    output = run_snakemake(folder, *RUN, "dataset").stdout
    assert "run finished; micrographs: 4 new; 4 used" in output
    run = last_run(folder)
    assert run["micrographs"]["new"] == ["m1", "m2", "m3", "m4"]
    assert run["training"] == {}
    assert run["jobs"]["failed"] == []
    assert run["jobs"]["finished"] == 4 + 1 + 2 + 1 + 1  # shards, list, splits, manifest, target


def test_new_files_are_added_while_another_one_is_still_being_written(folder):
    dataset = folder / "results/dataset"
    binaries = {path: path.read_bytes() for path in dataset.glob("*.bin")}
    inodes = {path: path.stat().st_ino for path in binaries}
    shards = times(folder, "results/shards/*.bin")
    for name in ("m5", "m6", "m7"):
        add_pair(folder, name)
    source, copy = folder / "m7.mrc", folder / "data/m7_ODD.mrc"
    copy.rename(source)
    command = [sys.executable, "-c", SLOW_COPY, source, copy]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as writer:
        assert writer.stdout.readline() == b"begun\n"
        output = run_snakemake(folder, *RUN, "denoised").stdout
        assert copy.stat().st_size < source.stat().st_size  # all the time
        writer.stdin.close()
    note = f"note: 1 of 7 micrographs are {STILL_WRITTEN} and wait for the next run: m7"
    assert note in output
    assert "run finished; micrographs: 2 new, 1 waiting; 6 used" in output
    expected = dict.fromkeys(("m1", "m2", "m3", "m4", "m5", "m6"), "ok") | {"m7": "waiting"}
    assert statuses(folder) == expected
    run = last_run(folder)["micrographs"]
    assert (run["new"], run["waiting"]) == (["m5", "m6"], {"m7": STILL_WRITTEN})
    assert (run["rejected"], run["changed"], run["left"]) == ({}, [], [])
    training = last_run(folder)["training"]["simple_cnn"]
    assert (training["finished"], training["epochs"]) == (True, 1)

    for path, before in binaries.items():
        after = path.read_bytes()
        assert after.startswith(before)
        grown = 2 * 6 * PATCH_BYTES if path.name.startswith("train") else 0
        assert len(after) - len(before) == grown
        assert path.stat().st_ino == inodes[path]
    assert dataset_faults(dataset) == []
    now = times(folder, "results/shards/*.bin")
    assert {name: now[name] for name in shards} == shards
    denoised = folder / "results/denoised"
    assert sorted(p.name for p in denoised.glob("m[567].mrc")) == ["m5.mrc", "m6.mrc"]


def test_where_only_a_bad_file_came_nothing_is_trained_again(folder):
    add_pair(folder, "m8")
    (folder / "data/m8_ODD.mrc").write_text("<html>503</html>")
    os.truncate(folder / "data/m7_EVN.mrc", 2000)
    before = times(folder, "results/model/*/*") | times(folder, "results/dataset/*.bin")
    output = run_snakemake(folder, *RUN, "denoised").stdout
    assert "run finished; micrographs: 1 waiting, 1 rejected; 6 used" in output
    assert "rule train_denoiser" not in output
    assert "rule write_manifest" not in output
    assert times(folder, "results/model/*/*") | times(folder, "results/dataset/*.bin") == before
    for half in ("EVN", "ODD"):
        (folder / f"data/m8_{half}.mrc").unlink()
    add_pair(folder, "m7")


def test_what_waited_is_taken_once_it_is_whole(folder):
    output = run_snakemake(folder, *RUN, "dataset").stdout
    assert output.count("rule shard_micrograph:") == 1
    assert statuses(folder)["m7"] == "ok"
    assert last_run(folder)["micrographs"]["new"] == ["m7"]
    assert last_run(folder)["training"] == {}


def test_a_run_with_nothing_to_do_leaves_no_record(folder):
    before = times(folder, "results/**/*")
    output = run_snakemake(folder, *RUN, "dataset").stdout
    assert "Nothing to be done" in output
    assert "micrographs:" not in output
    assert times(folder, "results/**/*") == before


def test_a_removed_micrograph_leaves_the_dataset_and_comes_back(folder):
    dataset, aside = folder / "results/dataset", folder / "aside"
    full = (dataset / "train_input.bin").read_bytes()
    aside.mkdir()
    for half in ("EVN", "ODD"):
        (folder / f"data/m5_{half}.mrc").rename(aside / f"m5_{half}.mrc")
    output = run_snakemake(folder, *RUN, "dataset").stdout
    assert "rule shard_micrograph:" not in output
    assert "run finished; micrographs: 1 left; 6 used" in output
    assert last_run(folder)["micrographs"]["left"] == ["m5"]
    assert "m5" not in statuses(folder)
    assert len((dataset / "train_input.bin").read_bytes()) == len(full) - 6 * PATCH_BYTES
    assert dataset_faults(dataset) == []
    assert (folder / "results/denoised/m5.mrc").exists()  # it is the user's to delete

    for half in ("EVN", "ODD"):
        (aside / f"m5_{half}.mrc").rename(folder / f"data/m5_{half}.mrc")
    output = run_snakemake(folder, *RUN, "dataset").stdout
    assert "rule shard_micrograph" not in output
    assert last_run(folder)["micrographs"]["new"] == ["m5"]
    grown = (dataset / "train_input.bin").read_bytes()
    assert len(grown) == len(full)
    assert dataset_faults(dataset) == []


def test_a_replaced_file_is_changed_and_a_touched_one_is_not(folder):
    add_pair(folder, "m6b")
    for half in ("EVN", "ODD"):
        os.replace(folder / f"data/m6b_{half}.mrc", folder / f"data/m6_{half}.mrc")
        os.utime(folder / f"data/m2_{half}.mrc")
    output = run_snakemake(folder, *RUN, "dataset").stdout
    assert "run finished; micrographs: 1 changed; 7 used" in output
    assert last_run(folder)["micrographs"]["changed"] == ["m6"]
    assert dataset_faults(folder / "results/dataset") == []


def test_a_file_that_stays_short_is_rejected_once_it_is_old(folder):
    path = folder / "data/m4_ODD.mrc"
    path.write_bytes(path.read_bytes()[:-100])
    run_snakemake(folder, *RUN, "dataset")
    assert statuses(folder)["m4"] == "waiting"
    then = time.time() - 3600
    os.utime(path, (then, then))
    process = run_snakemake(folder, *RUN, "dataset", check=False)
    assert process.returncode == 1
    assert "1 of 7 micrographs are rejected" in process.stdout
    assert "run failed (list_micrographs)" in process.stdout
    assert last_run(folder)["status"] == "failed"
