"""The conda environment of a rule holds what its script and all that it imports need."""

import ast
import sys
from pathlib import Path

import pytest
import yaml

from conftest import REPOSITORY

SCRIPTS = REPOSITORY / "workflow" / "scripts"
PACKAGES = {  # module -> package of conda-forge, where the names differ
    "PIL": "pillow",
    "torch": "pytorch",
    "xxhash": "python-xxhash",
    "yaml": "pyyaml",
}
WITH_ANOTHER = {"cuda": "cuda-bindings comes with PyTorch for CUDA; without, PyTorch computes"}


def needed_packages(path, seen):
    """Return the packages that a file and the modules of ours that it imports need.

    Imports inside functions count as well: somebody will call them. `seen` are files to leave out.
    """
    if path in seen:
        return set()
    seen.add(path)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            for module in ours(name, path.parent):
                found |= needed_packages(module, seen)
            top = name.split(".")[0]
            if not ours(top, path.parent) and top not in sys.stdlib_module_names:
                found.add(PACKAGES.get(top, top))
    return found - set(WITH_ANOTHER)


def ours(name, folder):
    """Return the files of a module in the library or in the folder of the file that imports it."""
    places = [root.joinpath(*name.split(".")) for root in (SCRIPTS, folder)]
    files = [place.with_name(f"{place.name}.py") for place in places]
    return [file for file in (*files, *(p / "__init__.py" for p in places)) if file.is_file()]


def packages_of(environment):
    listed = yaml.safe_load((REPOSITORY / "envs" / environment).read_text())["dependencies"]
    return {dependency.split("=")[0] for dependency in listed}


def scripts_and_environments():
    """Return {(script, environment)} of all rules, read from their files: also of other sources."""
    found = set()
    for file in sorted((REPOSITORY / "workflow" / "rules").glob("*.smk")):
        environment = None
        for line in file.read_text().splitlines():
            path = line.strip().strip('"')
            if path.startswith("../../envs/"):
                environment = path.removeprefix("../../envs/")
            elif path.startswith("../scripts/"):
                found.add((path.removeprefix("../scripts/"), environment))
    return sorted(found)


@pytest.mark.parametrize(("script", "environment"), scripts_and_environments())
def test_an_environment_has_what_its_scripts_import(script, environment):
    assert needed_packages(SCRIPTS / script, set()) - packages_of(environment) == set()


def test_our_implementations_run_in_the_environment_of_the_rule_that_runs_them():
    environment = dict(scripts_and_environments())["run_implementation.py"]
    programs = sorted((REPOSITORY / "workflow" / "implementations").glob("*.py"))
    assert len(programs) >= 5
    for program in programs:
        assert needed_packages(program, set()) - packages_of(environment) == set(), program.name


def test_every_environment_is_one_that_a_rule_uses_and_every_script_one_of_a_rule():
    used = {environment for _, environment in scripts_and_environments()}
    assert used == {path.name for path in (REPOSITORY / "envs").glob("*.yaml")}
    assert len(scripts_and_environments()) >= 15


def test_what_is_missing_would_be_seen(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("def f():\n    import nowhere.deep\n\nfrom clearice import seals\n")
    assert needed_packages(Path(script), set()) >= {"nowhere", "python-xxhash"}
