"""The workflow as a module of another one, which has its own rules, configuration and folder."""

import json
import subprocess
import sys

import pytest
import yaml

from conftest import REPOSITORY, TINY_CONFIG
from mrc_files import noise_image, write_mrc

PROFILE = REPOSITORY / "workflow" / "profiles" / "default"
SNAKEFILE = f"""
configfile: "settings.yaml"

module clearice:
    snakefile: {str(REPOSITORY / "Snakefile")!r}
    config: config["clearice"]

use rule * from clearice as clearice_*

onstart:
    clearice.onstart()

onsuccess:
    clearice.onsuccess()

onerror:
    clearice.onerror()

rule count:
    default_target: True
    input:
        table=rules.clearice_list_micrographs.output.table,
    output:
        "count.txt",
    shell:
        "wc -l < {{input.table}} > {{output}}"
"""


def write_outer(folder, config, snakefile=SNAKEFILE):
    """Write a workflow that uses this one, and a config.yaml that is none of ours."""
    folder.mkdir(parents=True)
    (folder / "Snakefile").write_text(snakefile)
    (folder / "settings.yaml").write_text(yaml.safe_dump({"clearice": config, "other": 1}))
    (folder / "config.yaml").write_text("of_another_workflow: 1\n")


def snakemake(folder, *arguments):
    """Run Snakemake in the folder; return its exit status and all that it said."""
    words = [sys.executable, "-m", "snakemake", "--workflow-profile", str(PROFILE), *arguments]
    process = subprocess.run(
        [*words, "--cores", "2"], cwd=folder, capture_output=True, text=True, timeout=300
    )
    return process.returncode, process.stdout + process.stderr


@pytest.fixture(scope="module")
def outer(tmp_path_factory):
    """A finished run of a workflow that uses this one up to the list of micrographs."""
    folder = tmp_path_factory.mktemp("outer") / "workflow"
    write_outer(folder, TINY_CONFIG)
    status, said = snakemake(folder)
    assert status == 0, said
    return folder


def test_its_results_are_inputs_of_the_rules_of_another_workflow(outer):
    assert (outer / "count.txt").read_text().strip() == "4"  # a head and three micrographs


def test_the_other_workflow_runs_our_checks_and_keeps_our_list_and_record(outer):
    assert (outer / ".snakemake/clearice_micrographs.json").exists()  # begin_run() wrote it
    (record,) = [json.loads(path.read_text()) for path in outer.glob("results/runs/*.json")]
    assert record["status"] == "finished"
    assert record["micrographs"]["used"] == 3


def test_a_second_run_has_nothing_to_do_and_the_rest_can_be_planned(outer):
    status, said = snakemake(outer, "--dry-run")
    assert status == 0
    assert "Nothing to be done" in said
    status, said = snakemake(outer, "--dry-run", "clearice_all")
    assert status == 0, said
    for job in ("train_denoiser", "build_fortran", "run_implementation", "validate_micrograph"):
        assert f"clearice_{job} " in said
    assert "shard_micrograph" not in said


@pytest.mark.slow
def test_a_run_up_to_the_report_ends_with_its_summary(tmp_path):
    least = {"denoised": {"enabled": False}, "parity": {"implementations": {}}}
    write_outer(tmp_path / "workflow", {**TINY_CONFIG, **least})
    status, said = snakemake(tmp_path / "workflow", "clearice_report")
    assert status == 0, said
    assert said.count("results/report/index.html") == 1
    assert "micrographs  " in said
    status, said = snakemake(tmp_path / "workflow", "clearice_report")
    assert "the report is as it was: results/report/index.html" in said


def test_a_mistake_in_the_configuration_is_one_line(tmp_path):
    write_outer(tmp_path / "workflow", {"patches": {"size_px": -1}})
    status, said = snakemake(tmp_path / "workflow", "--dry-run")
    assert status == 1
    assert "wrong value for patches.size_px: expected integer >= 16" in said
    assert "Traceback" not in said


def test_what_can_not_go_well_stops_it_before_the_first_job(tmp_path):
    """The checks at the start know our rules, whatever they are called, and if one is left out."""
    for number in range(2):
        image = noise_image(128, 128, seed=number, mean=1e6)  # float16 ends at 65504
        write_mrc(tmp_path / f"{number}.mrc", image)
    config = {
        **TINY_CONFIG,
        "micrographs": {"source": "files", "files": str(tmp_path / "*.mrc")},
        "denoised": {"dtype": "float16"},
    }
    some = SNAKEFILE.replace("use rule * from clearice", "use rule * from clearice exclude report")
    write_outer(tmp_path / "workflow", config, some)
    status, said = snakemake(tmp_path / "workflow")
    assert status == 1
    assert "error: " in said
    assert "float16" in said
    assert not (tmp_path / "workflow/results/shards").exists()


@pytest.mark.parametrize("line", ['prefix: "other"', 'replace_prefix: {"results/": "other/"}'])
def test_a_prefix_is_refused_in_one_line(tmp_path, line):
    snakefile = SNAKEFILE.replace("module clearice:", f"module clearice:\n    {line}")
    write_outer(tmp_path / "workflow", TINY_CONFIG, snakefile)
    status, said = snakemake(tmp_path / "workflow", "--dry-run")
    assert status == 1
    assert "error: clearice is no module with a prefix" in said
    assert "Traceback" not in said


def test_without_a_clone_it_says_what_to_do(tmp_path, monkeypatch):
    """Snakemake can read rules from a repository on the web, but Python no library."""
    rules = REPOSITORY / "workflow" / "rules" / "common.smk"
    source = rules.read_text().split("sys.path.insert")[0]

    class Elsewhere:
        class current_basedir:
            @staticmethod
            def get_path_or_uri(secret_free):
                return "https://example.org/clearice/workflow/rules"

    with pytest.raises(SystemExit, match=r"https://example\.org.*clone it"):
        exec(source, {"workflow": Elsewhere})
