"""What every rule must have, read from the rules as Snakemake parsed them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.api import SnakemakeApi
from snakemake.settings.types import OutputSettings, ResourceSettings

from clearice.fingerprint import fingerprint
from conftest import REPOSITORY, run_snakemake, write_config

SCRIPTS = REPOSITORY / "workflow" / "scripts"


def parsed_rules(directory, config, **resources):
    write_config(directory, config)
    with SnakemakeApi(OutputSettings(quiet={"all"})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(**resources),
            snakefile=REPOSITORY / "Snakefile",
            workdir=directory,
        )._workflow
        return list(workflow.rules)


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    return parsed_rules(tmp_path_factory.mktemp("rules"), {}, cores=2)


def test_every_rule_has_a_docstring(rules):
    assert [rule.name for rule in rules if not rule.docstring] == []


def test_every_rule_that_runs_something_has_log_benchmark_resources_and_environment(rules):
    for rule in rules:
        if rule.script or rule.shellcmd:
            assert rule.log, f"{rule.name} has no log"
            assert rule.benchmark or not rule.output, f"{rule.name} has no benchmark"
            for name in ("mem_mb", "runtime", "disk_mb"):
                assert rule.resources.get(name), f"{rule.name} has no {name}"
            assert rule.conda_env, f"{rule.name} has no conda environment"


def test_a_benchmark_has_the_name_of_its_log(rules):
    """The benchmark, which Snakemake touches last, is the stamp of the seals of a job."""
    for rule in rules:
        if rule.benchmark:
            assert str(rule.benchmark) == f"{str(rule.log[0]).removesuffix('.log')}.benchmark.tsv"


def test_a_rule_and_its_script_have_one_name(rules):
    for rule in rules:
        if rule.script:
            assert Path(str(rule.script)).stem == rule.name


def test_every_rule_file_says_what_it_reads_and_writes():
    for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"):
        header = path.read_text().split('"""')[1]
        assert "\nREADS " in header, path.name
        assert "\nWRITES " in header, path.name


def test_a_rule_that_makes_something_has_the_fingerprint_of_its_script(rules):
    for rule in rules:
        # A new version of clearice asks the archive whether a download is still the same.
        if rule.script and rule.output and rule.name != "fetch_micrograph":
            first, *_ = dict(rule.params.items())["code"](None).split()
            assert first == fingerprint(SCRIPTS / f"{rule.name}.py"), rule.name


@pytest.mark.parametrize(
    ("resources", "settings", "threads"),
    [
        ({"cores": 3}, {}, 3),
        ({"nodes": 5}, {}, 8),  # --jobs 5 alone, as with a cluster executor
        ({"nodes": 5}, {"threads": 16}, 16),
    ],
)
def test_a_training_has_threads_with_cores_and_with_jobs_alone(
    tmp_path, resources, settings, threads
):
    rules = parsed_rules(tmp_path, {"model": {"simple_cnn": settings}}, **resources)
    (training,) = [rule for rule in rules if rule.name == "train_denoiser"]
    wildcards = SimpleNamespace(architecture="simple_cnn")
    assert training.resources["_cores"]._evaluator(wildcards) == threads


def test_a_training_on_a_node_has_the_cores_that_slurm_gave_it(tmp_path, tiny_config, monkeypatch):
    """A job there is told to take all cores of the node, which is not what was asked for."""
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    write_config(tmp_path, tiny_config)
    target = "results/model/simple_cnn/denoiser.safetensors"
    said = run_snakemake(tmp_path, "--mode", "remote", "--cores", "4", "--dry-run", target).stdout
    assert "threads: 2\n" in said.split("rule train_denoiser:")[1]
