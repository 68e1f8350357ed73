"""What results were made with: settings that differ, machine, commit, command, and the runs."""

import json
import subprocess

import pytest

from clearice.config import complete_config
from clearice.report.costs.machine import accelerators, hardware
from clearice.report.costs.reproduction import checkout, command, run_rows
from clearice.report.costs.settings import differences


def test_only_settings_that_differ_are_listed():
    assert differences(complete_config({})) == []
    implementations = {"mine": {"command": "run it"}}
    given = {"patches": {"size_px": 512}, "parity": {"implementations": implementations}}
    given["micrographs"] = {"source": "files", "files": ["a/*.mrc", "b, c.mrc"]}
    found = differences(complete_config(given))
    rows = {row["key"]: (row["default"], row["here"]) for row in found}
    assert rows["patches.size_px"] == ("1024", "512")
    assert rows["micrographs.source"] == ("simulation", "files")
    assert rows["micrographs.files"] == ("null", '["a/*.mrc", "b, c.mrc"]')
    assert rows["parity.implementations.mine.command"] == ("not set", "run it")
    assert rows["parity.implementations.numpy.precision"] == ("float32", "not set")
    assert not any(key.startswith("model.") for key in rows)


def test_the_machine_is_told_without_its_name(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: Abacus   9000 @ 1 GHz\n")
    (tmp_path / "memory.max").write_text("1048576\n")
    found = hardware(tmp_path, tmp_path)
    assert found["processor"] == "Abacus 9000 @ 1 GHz"
    assert found["memory_limit_mib"] == 1
    assert found["memory_mib"] > 1
    assert found["cores"] >= found["usable_cores"] >= 1
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpuinfo").write_text("processor : 0\n")
    found = hardware(tmp_path, tmp_path)
    assert found["memory_limit_mib"] is None
    assert found["processor"]


def test_devices_are_those_of_the_records():
    trainings = {
        "simple_cnn": {"device": "NVIDIA H200", "devices": 2, "torch": "2.13", "cudnn": 91000},
        "old": {},
    }
    about = {"implementation": "x", "verdict": "passed", "result": {"device": ["odd"]}}
    told = {**about, "implementation": "y", "result": {"device": "cpu"}}
    not_run = {**about, "verdict": "not run", "result": {"device": "cuda"}}
    assert accelerators(trainings, [about, told, not_run]) == [
        ("training of simple_cnn", "2 x NVIDIA H200", "torch 2.13, cuDNN 91000"),
        ("training of old", "unknown device", ""),
        ("parity of y", "cpu", ""),
    ]


def git(folder, *words):
    about = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", folder, *about, *words], check=True, capture_output=True)


def test_the_commit_is_told_and_what_was_changed_since(tmp_path):
    assert checkout(tmp_path)["commit"] is None
    assert "not in a git checkout" in checkout(tmp_path)["words"]
    git(tmp_path, "init", "-q")
    assert "git could not say" in checkout(tmp_path)["words"]  # no commit yet
    (tmp_path / "Snakefile").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    clean = checkout(tmp_path)
    assert len(clean["commit"]) == 40
    assert clean["words"].endswith("nothing was changed since")
    (tmp_path / "Snakefile").write_text("2")
    (tmp_path / "untracked").touch()
    assert checkout(tmp_path)["changed"] == ["Snakefile"]
    assert checkout(tmp_path)["commit"] == clean["commit"]
    part = tmp_path / "part"
    part.mkdir()
    assert checkout(part)["commit"] is None


def test_no_git_no_commit(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert "git is not installed" in checkout(tmp_path)["words"]


@pytest.fixture
def runs(tmp_path):
    """Three records: of an older version, of a finished run, and of the one that is at work."""
    about = {"format_version": 1, "clearice_version": "0.1.0", "ended": None}
    found = {"used": 3, "new": ["a", "b"], "left": [], "changed": [], "waiting": {}, "rejected": {}}
    done = {"status": "finished", "jobs": {"planned": 9, "finished": 8, "failed": []}}
    records = {
        "2026-01-01T00-00-00Z": {"status": "killed", "micrographs": None},
        "2026-01-02T00-00-00Z": {**done, "micrographs": found, "command": "snakemake -c2 all"},
        "2026-01-03T00-00-00Z": {"status": "running", "jobs": {"planned": 4}, "command": None},
    }
    for name, record in records.items():
        started = name[:13] + name[13:].replace("-", ":")
        record = {**about, "started": started, **record}
        if record["status"] == "finished":
            record["ended"] = started.replace("00:00Z", "02:30Z")
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
    return tmp_path


def test_runs_are_told_the_latest_first(runs):
    rows = run_rows(runs)
    assert [row["status"] for row in rows] == ["running", "finished", "killed"]
    assert [row["seconds"] for row in rows] == [None, 150, None]
    assert [row["new"] for row in rows] == [None, 2, None]
    assert [row["planned"] for row in rows] == [4, 9, None]
    assert command(rows) == ("snakemake -c2 all", True)
    assert command([]) == ("snakemake --cores all", False)
    (runs / "2026-01-04T00-00-00Z.json").write_text('{"format_version": 1, "started": 4}')
    assert len(run_rows(runs)) == 3
    assert run_rows(runs / "absent") == []
