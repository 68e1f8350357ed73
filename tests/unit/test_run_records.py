"""The records of runs: what came, left, changed or waits, and what a killed run leaves."""

import json

import pytest

from clearice import run_records
from clearice.files import write_json, write_text
from clearice.run_records import (
    RunRecord,
    as_typed,
    in_words,
    read_runs,
    source_hash,
    training_state,
)
from clearice.tsv import table_text


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def list_micrographs(**status):
    rows = [
        {"micrograph": name, "status": state.partition(":")[0], "reason": state.partition(":")[2]}
        for name, state in status.items()
    ]
    write_text(run_records._TABLE, table_text(("micrograph", "status", "reason"), rows))


def shard(name, digest):
    path = f"results/shards/{name}.json"
    write_json(path, {"input": {"xxh3": digest}, "target": None})
    return path, source_hash(path)


def test_the_first_run_and_the_next_ones(folder):
    first = RunRecord(9, {})
    (running,) = read_runs()
    assert (running["status"], running["ended"]) == ("running", None)
    list_micrographs(a="ok", b="ok", c="rejected:truncated", d="waiting:still being written")
    first.end("finished", 9)
    (record,) = read_runs()
    found = record["micrographs"]
    assert (found["used"], found["new"], found["left"]) == (2, ["a", "b"], [])
    assert found["waiting"] == {"d": "still being written"}
    assert found["rejected"] == {"c": "truncated"}
    assert record["jobs"] == {"planned": 9, "finished": 9, "failed": []}
    assert record["started"] <= record["ended"]
    assert "before" not in record
    said = in_words(record)
    assert said == "run finished; micrographs: 2 new, 1 waiting, 1 rejected; 2 used"

    again = {"b": shard("b", "1"), "e": shard("e", "1")}
    second = RunRecord(4, again)
    shard("b", "2")
    shard("e", "2")
    list_micrographs(b="ok", c="rejected:truncated", d="ok", e="ok")
    record = second.end("failed", 3, ["train_denoiser s2d_unet"])
    found = record["micrographs"]
    assert (found["new"], found["left"], found["changed"]) == (["d", "e"], ["a"], ["b"])
    assert (found["waiting"], found["rejected"]) == ({}, {})  # c was rejected before
    said = "run failed (train_denoiser s2d_unet); micrographs: 2 new, 1 left, 1 changed; 3 used"
    assert in_words(record) == said
    assert [run["status"] for run in read_runs()] == ["finished", "failed"]


def test_a_shard_of_the_same_source_is_no_change(folder):
    list_micrographs(a="ok")
    run = RunRecord(1, {"a": shard("a", "1")})
    shard("a", "1")
    record = run.end("finished", 1)
    assert record["micrographs"]["changed"] == []
    assert in_words(record) == "run finished; micrographs: none new; 1 used"


def test_a_killed_run_is_completed_by_the_next(folder):
    list_micrographs(a="ok")
    killed = RunRecord(5, {})
    list_micrographs(a="ok", b="ok")
    del killed
    RunRecord(3, {}).end("finished", 3)
    first, second = read_runs()
    assert (first["status"], first["ended"], first["jobs"]["finished"]) == ("killed", None, None)
    assert first["micrographs"]["new"] == ["b"]
    assert second["micrographs"]["new"] == []


def test_there_are_never_more_than_are_kept_and_foreign_files_are_left_alone(folder, monkeypatch):
    monkeypatch.setattr(run_records, "KEPT", 3)
    runs = folder / "results/runs"
    runs.mkdir(parents=True)
    for number in range(5):
        old = {"format_version": 1, "status": "finished"}
        write_json(runs / f"2020-01-0{number + 1}.json", old)
    (runs / "notes.txt").write_text("mine")
    RunRecord(1, {}).end("finished", 1)
    assert [run["path"].name for run in read_runs()][:2] == ["2020-01-04.json", "2020-01-05.json"]
    assert len(read_runs()) == 3
    (runs / "2020-01-04.json").write_text("{")
    write_json(runs / "2020-01-05.json", [])
    assert len(read_runs()) == 1
    assert (runs / "notes.txt").exists()


def test_two_runs_in_one_second_have_two_records(folder, monkeypatch):
    monkeypatch.setattr(run_records, "_now", lambda: "2026-11-30T02:15:00Z")
    for _ in range(3):
        RunRecord(1, {}).end("failed")
    assert len(read_runs()) == 3


def test_how_far_a_training_went(folder):
    (folder / "history.tsv").write_text("epoch\ttrain_loss\ttest_loss\n1\t2\t3\n2\t1.5\t\n")
    (folder / "log").write_text("epoch 1 of 6: train 2\nbatch 9 of 30, epoch 2\n\n")
    history, log = folder / "history.tsv", folder / "log"
    found = training_state(history, log, True)
    assert found == {"finished": True, "epochs": 2, "train_loss": 1.5}
    found = training_state(history, log, False)
    assert found == {"finished": False, "log_ends": "batch 9 of 30, epoch 2"}
    assert training_state(folder / "none", folder / "none", True) == {"finished": True}
    assert training_state(history, folder / "none", False) == {"finished": False, "log_ends": None}
    json.dumps(found, allow_nan=False)


def test_a_command_keeps_what_decides_and_nothing_private():
    words = ["/x/bin/snakemake", "--cores", "2", "--storage-s3-secret-key", "hush", "-j4"]
    words += ["--directory", "/home/alice/my run", "--configfile=/home/alice/c.yaml", "--quiet"]
    said = as_typed(words, ["all", "report"], home="/home/alice")
    assert said == (
        "snakemake --cores 2 -j4 --directory $HOME/'my run' --configfile=$HOME/c.yaml all report"
    )
    assert as_typed(["snakemake", "-c2", "report"], ["report"], "/h") == "snakemake -c2 report"
    assert as_typed(["python", "-c", "secret"]) is None


def test_a_record_has_its_command(folder):
    RunRecord(1, {}, command="snakemake --cores 2").end("finished", 1)
    assert [record["command"] for record in read_runs()] == ["snakemake --cores 2"]
