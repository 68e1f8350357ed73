"""The parity rules, the real ones, on a bundle that is there: crashes are judged, not fatal."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from parity_bundle import write_small_bundle

# Stands in for common.smk and reference.smk, which need a model; everything else is the real thing.
SNAKEFILE = """
import os
from pathlib import Path
REPOSITORY = Path({repository!r})
IMPLEMENTATIONS = sorted(config["parity"]["implementations"])
def code_of(script):
    return script
def implementation(key):
    return lambda wildcards: config["parity"]["implementations"][wildcards.implementation][key]
def program_files(wildcards):
    return []
def program_code(wildcards):
    return []
def asks(rule):
    return dict(mem_mb=100, runtime=1, disk_mb=1)
rule export_reference:
    output: manifest="results/reference/manifest.json", files="results/reference/manifest.nml"
include: REPOSITORY / "workflow/rules/parity.smk"
rule report:
    input: expand("results/parity/{{i}}/verdict.json", i=IMPLEMENTATIONS)
    output: "results/report/index.html"
    shell: "touch {{output}}"
"""


@pytest.fixture
def run_folder(tmp_path, repository):
    """A run folder with a bundle, a Snakefile, and one implementation of each fate."""
    write_small_bundle(tmp_path / "results" / "reference")
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(repository=str(repository)))
    numpy = f"{{python}} {repository}/workflow/implementations/numpy_cnn.py"
    commands = {
        "absent": "{python} -c 'import sys; sys.exit(3)'",
        "crashing": "{python} -c 'raise SystemError(42)'",
        "numpy": numpy,
    }
    config = {
        name: {"command": command, "precision": "float32", "timeout_minutes": 5}
        for name, command in commands.items()
    }
    return tmp_path, config


def snakemake(folder, implementations, required, *targets):
    config = {"parity": {"implementations": implementations, "required": required}}
    (folder / "config.json").write_text(json.dumps(config))
    words = [sys.executable, "-m", "snakemake", "--snakefile", folder / "Snakefile", "--quiet"]
    words += ["--directory", folder, "--configfile", folder / "config.json", "--cores", "2"]
    return subprocess.run([*words, *targets], capture_output=True, text=True, check=False)


def test_a_crash_is_a_verdict_and_fails_the_run_after_the_report(run_folder):
    folder, implementations = run_folder
    process = snakemake(folder, implementations, True, "require_parity")
    assert process.returncode != 0
    assert "parity failed for crashing" in process.stderr
    verdicts = {
        name: json.loads((folder / "results" / "parity" / name / "verdict.json").read_text())
        for name in implementations
    }
    assert {name: verdict["verdict"] for name, verdict in verdicts.items()} == {
        "absent": "not run",
        "crashing": "failed",
        "numpy": "passed",
    }
    assert verdicts["crashing"]["result"]["message"] == "SystemError: 42"
    assert (folder / "results" / "report" / "index.html").is_file()
    assert not Path(folder / "results" / "parity" / "summary.json").exists()
    process = snakemake(folder, implementations, False, "require_parity")
    assert process.returncode == 0, process.stderr
    summary = json.loads((folder / "results" / "parity" / "summary.json").read_text())
    assert [row["verdict"] for row in summary["implementations"]] == ["not run", "failed", "passed"]
