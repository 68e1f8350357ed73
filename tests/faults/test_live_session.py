"""A microscope or a motion correction still writes: what comes and goes stops no other file."""

import csv
import gzip
import os
import subprocess
import sys
import time

import pytest

from clearice.errors import InputError
from clearice.micrographs.finding.sources import find_micrographs
from clearice.micrographs.waiting import (
    NO_OTHER_HALF,
    STILL_WRITTEN,
    VANISHED,
    file_state,
    file_status,
)
from clearice.shards import sharding
from clearice.shards.record import read_shard_record
from conftest import REPOSITORY, run_snakemake, write_config
from mrc_files import noise_image, write_mrc

HALVES = {"input": "_EVN", "target": "_ODD"}
PATCHES = {
    "size_px": 64,
    "stride_px": 64,
    "cover_border": False,
    "target": "halves",
    "hot_pixel_threshold": None,
}


def write_pair(folder, name, seed, halves=("EVN", "ODD")):
    folder.mkdir(exist_ok=True)
    for number, half in enumerate(halves):
        write_mrc(folder / f"{name}_{half}.mrc", noise_image(64, 96, 10 * seed + number))


def session(folder, files="data/*.mrc", n_pairs=3):
    for seed in range(n_pairs):
        write_pair(folder / "data", f"m{seed}", seed)
    section = {"source": "files", "files": files, "halves": HALVES}
    write_config(folder, {"micrographs": section, "patches": {"size_px": 64, "stride_px": 64}})
    return folder


def listed(folder):
    with open(folder / "results/dataset/micrographs.tsv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {row["micrograph"]: (row["status"], row["reason"]) for row in rows}


def found(folder, on_error="skip"):
    lines = []
    section = {"source": "files", "files": "data/*.mrc", "halves": HALVES, "on_error": on_error}
    section["settle_minutes"] = 10
    config = {"micrographs": section, "patches": {"target": "halves"}}
    return find_micrographs(config, folder, lines.append), lines


def test_a_lone_half_is_set_aside_with_a_line_until_its_other_half_comes(tmp_path):
    session(tmp_path)
    write_pair(tmp_path / "data", "new", 7, ["ODD"])
    output = run_snakemake(tmp_path, "--cores", "2", "dataset").stdout
    assert f"note: 1 of 4 micrographs have {NO_OTHER_HALF}, set aside: new" in output
    good = dict.fromkeys(("m0", "m1", "m2"), ("ok", ""))
    assert listed(tmp_path) == {**good, "new": ("waiting", NO_OTHER_HALF)}
    write_pair(tmp_path / "data", "new", 7)
    run_snakemake(tmp_path, "--cores", "2", "dataset")
    assert listed(tmp_path) == {**good, "new": ("ok", "")}


def test_halves_that_are_all_alone_and_strangers_stop(tmp_path):
    session(tmp_path, n_pairs=1)
    os.remove(tmp_path / "data/m0_ODD.mrc")
    with pytest.raises(InputError, match="1 files without a partner"):
        found(tmp_path)
    session(tmp_path, n_pairs=2)
    assert [files.reason for files in found(tmp_path)[0].values()] == [None, None]
    os.remove(tmp_path / "data/m0_ODD.mrc")
    micrographs, lines = found(tmp_path)
    assert [files.reason for files in micrographs.values()] == [NO_OTHER_HALF, None]
    assert len(lines) == 1
    with pytest.raises(InputError, match=r"1 files without a partner \(data/m0_EVN.mrc\)"):
        found(tmp_path, on_error="stop")
    (tmp_path / "data/average.mrc").touch()
    with pytest.raises(InputError, match=r"data/average.mrc, data/m0_EVN.mrc"):
        found(tmp_path)


def run_while(folder, change):
    """Run the dataset, and call `change` when the run has been planned and its jobs begin."""
    command = [sys.executable, "-m", "snakemake", "--directory", folder, "--cores", "1", "dataset"]
    planned = folder / ".snakemake" / "clearice_micrographs.json"
    with open(folder / "said.txt", "w") as said:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=said, stderr=subprocess.STDOUT)
        while not planned.exists() and process.poll() is None:
            time.sleep(0.01)
        change()
        assert process.wait(300) == 0, (folder / "said.txt").read_text()


@pytest.mark.parametrize("files", ["data/*.mrc", "table.tsv"])
def test_a_file_that_vanishes_in_a_run_is_set_aside_and_taken_when_it_is_back(tmp_path, files):
    session(tmp_path, files)
    rows = [f"m{n}\tdata/m{n}_EVN.mrc\tdata/m{n}_ODD.mrc" for n in range(3)]
    (tmp_path / "table.tsv").write_text("\n".join(["micrograph\tinput\ttarget", *rows, ""]))
    there, away = tmp_path / "data/m2_ODD.mrc", tmp_path / "away.mrc"
    run_while(tmp_path, lambda: there.rename(away))
    good = {"m0": ("ok", ""), "m1": ("ok", "")}
    assert listed(tmp_path) == {**good, "m2": ("waiting", VANISHED)}
    away.rename(there)  # with the size and the time that it had
    run_snakemake(tmp_path, "--cores", "1", "dataset")
    assert listed(tmp_path) == {**good, "m2": ("ok", "")}


def test_files_that_come_in_a_run_wait_for_the_next(tmp_path):
    session(tmp_path)

    def come():
        write_pair(tmp_path / "data", "m3", 3)
        write_pair(tmp_path / "data", "m4", 4, ["EVN"])
        (tmp_path / "data/stranger.mrc").touch()

    run_while(tmp_path, come)
    assert listed(tmp_path) == dict.fromkeys(("m0", "m1", "m2"), ("ok", ""))
    os.remove(tmp_path / "data/stranger.mrc")
    run_snakemake(tmp_path, "--cores", "1", "dataset")
    assert listed(tmp_path)["m3"] == ("ok", "")
    assert listed(tmp_path)["m4"] == ("waiting", NO_OTHER_HALF)


@pytest.mark.parametrize("when", ["before", "while it is read"])
def test_a_missing_half_is_a_rejected_micrograph(tmp_path, monkeypatch, when):
    write_pair(tmp_path / "data", "m", 0)
    halves = [str(tmp_path / f"data/m_{half}.mrc") for half in ("EVN", "ODD")]
    files = {"input_bin": "m.input.bin", "target_bin": "m.target.bin", "record": "m.json"}
    job = {role: str(tmp_path / name) for role, name in files.items()}
    job |= {"input": halves[0], "target": halves[1], "micrograph": "m", "patches": PATCHES}
    if when == "before":
        os.remove(halves[1])
    else:
        survey = sharding.survey_sides

        def surveyed_then_gone(*arguments):
            facts = survey(*arguments)
            os.remove(halves[1])
            return facts

        monkeypatch.setattr(sharding, "survey_sides", surveyed_then_gone)
    with pytest.raises(InputError):
        sharding.shard_micrograph(**job, on_error="stop", was_there=True)
    write_pair(tmp_path / "data", "m", 0)
    if when == "before":
        os.remove(halves[1])
    sharding.shard_micrograph(**job, on_error="skip", was_there=True)
    record = read_shard_record(job["record"])
    assert (record["status"], record["reason"]) == ("rejected", VANISHED)
    assert os.path.getsize(job["target_bin"]) == 0


def test_a_file_that_is_overwritten_in_a_run_waits_and_is_taken_when_it_is_whole(tmp_path):
    session(tmp_path)
    path = tmp_path / "data/m2_ODD.mrc"
    whole = path.read_bytes()
    run_while(tmp_path, lambda: path.write_bytes(whole[:5000]))
    good = {"m0": ("ok", ""), "m1": ("ok", "")}
    assert listed(tmp_path) == {**good, "m2": ("waiting", STILL_WRITTEN)}
    path.write_bytes(whole)
    run_snakemake(tmp_path, "--cores", "1", "dataset")
    assert listed(tmp_path) == {**good, "m2": ("ok", "")}


SETTLE = {"was_there": True, "settle_minutes": 10}


@pytest.fixture
def one(tmp_path):
    """A job for one micrograph, and its path."""
    path = write_mrc(tmp_path / "m.mrc", noise_image(64, 96))
    job = {"input_bin": "m.input.bin", "target_bin": "m.target.bin", "record": "m.json"}
    job = {role: str(tmp_path / name) for role, name in job.items()}
    patches = PATCHES | {"target": "lowpass", "lowpass_sigma_px": 2.0}
    job |= {"input": str(path), "micrograph": "m", "patches": patches}
    return job | {"states": [file_state(file_status(path))]}, path


def outcome(job):
    sharding.shard_micrograph(**job)
    record = read_shard_record(job["record"])
    return record["status"], record["reason"]


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


@pytest.mark.parametrize("on_error", ["skip", "stop"])
@pytest.mark.parametrize("cut", ["short", "gzip", "blank"])
def test_an_unfinished_file_waits_for_its_shard_while_it_is_young(one, cut, on_error):
    job, path = one
    whole = path.read_bytes()
    packed = gzip.compress(whole)
    cuts = {"short": whole[:-8], "gzip": packed[: len(packed) // 2]}
    path.write_bytes(cuts.get(cut) or whole[:9000] + bytes(len(whole) - 9000))
    job |= SETTLE | {"on_error": on_error, "states": [file_state(file_status(path))]}
    assert outcome(job) == ("rejected", STILL_WRITTEN)
    age(path, 3600)
    job["states"] = [file_state(file_status(path))]
    if on_error == "stop":
        with pytest.raises(InputError, match=r"truncated|unfinished"):
            sharding.shard_micrograph(**job)
    else:
        assert STILL_WRITTEN not in outcome(job)[1]
    age(path, 0)
    job |= {"settle_minutes": 0, "on_error": "skip", "states": [file_state(file_status(path))]}
    assert STILL_WRITTEN not in outcome(job)[1]


def test_a_young_file_that_no_further_byte_cures_is_rejected(one):
    job, path = one
    path.write_text("<html>503</html>")
    job |= SETTLE | {"states": [file_state(file_status(path))]}
    assert outcome(job)[1].startswith(f"{path}: an HTML or XML page")


def test_a_file_that_changes_while_it_is_read_waits_by_whatever_clock(one, monkeypatch):
    job, path = one
    survey = sharding.survey_sides

    def surveyed_then_changed(*arguments):
        facts = survey(*arguments)
        age(path, 90_000)
        return facts

    monkeypatch.setattr(sharding, "survey_sides", surveyed_then_changed)
    assert outcome(job | SETTLE) == ("rejected", STILL_WRITTEN)
    age(path, 0)
    with pytest.raises(InputError, match="changed while it was read"):
        sharding.shard_micrograph(**job | {"was_there": True})


def test_a_whole_file_that_was_replaced_since_the_list_was_made_is_used(one):
    job, path = one
    write_mrc(path, noise_image(64, 96, 5))
    age(path, -60)
    assert outcome(job | SETTLE) == ("ok", None)
