"""What every rule must have, read from the rules as Snakemake parsed them."""

import ast
from pathlib import Path

import pytest
from conftest import REPOSITORY, write_config
from snakemake.api import SnakemakeApi
from snakemake.settings.types import OutputSettings, ResourceSettings

SCRIPTS = REPOSITORY / "workflow" / "scripts"
# Errors, the bridge and atomic writing change no result, and a job gets its configuration as
# params: library() need not name them.
NEUTRAL_MODULES = {"errors", "bridge", "files", "config"}


def parsed_rules(directory, config):
    write_config(directory, config)
    with SnakemakeApi(OutputSettings(quiet={"all"})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=2),
            snakefile=REPOSITORY / "Snakefile",
            workdir=directory,
        )._workflow
        return list(workflow.rules)


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    return parsed_rules(tmp_path_factory.mktemp("rules"), {})


def test_every_rule_has_a_docstring(rules):
    assert [rule.name for rule in rules if not rule.docstring] == []


def test_every_rule_that_runs_something_has_log_benchmark_memory_and_environment(rules):
    for rule in rules:
        if rule.script or rule.shellcmd:
            assert rule.log, f"{rule.name} has no log"
            assert rule.benchmark or not rule.output, f"{rule.name} has no benchmark"
            assert rule.resources.get("mem_mb"), f"{rule.name} has no mem_mb"
            assert rule.conda_env, f"{rule.name} has no conda environment"


def test_a_rule_and_its_script_have_one_name(rules):
    for rule in rules:
        if rule.script:
            assert Path(str(rule.script)).stem == rule.name


def test_every_rule_file_says_what_it_reads_and_writes():
    for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"):
        header = path.read_text().split('"""')[1]
        assert "\nREADS " in header, path.name
        assert "\nWRITES " in header, path.name


def imported_modules(script):
    """Return the modules of the library that a script imports by name."""
    tree = ast.parse(script.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("clearice."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "clearice":
            names |= {a.name for a in node.names if (SCRIPTS / f"clearice/{a.name}.py").exists()}
    return names


def all_imported_modules(script):
    """Return the modules that a script imports, and those that these import."""
    found, waiting = set(), imported_modules(script)
    while waiting:
        module = waiting.pop()
        found.add(module)
        waiting |= imported_modules(SCRIPTS / "clearice" / f"{module}.py") - found
    return found


def test_a_rule_declares_the_library_modules_that_its_script_needs(rules):
    for rule in rules:
        if not (rule.script and rule.output):
            continue
        wanted = all_imported_modules(SCRIPTS / f"{rule.name}.py") - NEUTRAL_MODULES
        declared = {Path(str(path)).stem for path in rule.input.get("code", [])}
        assert wanted <= declared, f"{rule.name} does not declare {sorted(wanted - declared)}"
