"""One version of each package: constraints.txt, pyproject.toml and envs/*.yaml agree."""

import ast
import re
import sys
import tomllib

import pytest
import yaml

from conftest import REPOSITORY

NOT_FROM_PIP = {"python", "gfortran", "make"}
CONDA_NAMES = {"pytorch": "torch", "python-xxhash": "xxhash"}
PIP_NAMES = {"PIL": "pillow", "yaml": "pyyaml"}  # of what is imported by another name
COMES_ALONG = {"snakemake_interface_logger_plugins": "snakemake"}
OUR_FOLDERS = ("tests", "workflow/scripts", "workflow/implementations", "benchmarks")


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def constraints():
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {normal(name): version for name, version in pairs}


def test_every_dependency_is_pinned():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"]
    wanted = wanted + project["project"]["optional-dependencies"]["test"]
    names = {normal(re.split(r"[<>=~; ]", line)[0]) for line in wanted}
    assert names <= set(constraints())
    build = dict(line.split("==") for line in project["build-system"]["requires"])
    assert build["setuptools"] == constraints()["setuptools"]


def imported_by_tests():
    """Return {the first name of a module: a file of tests that imports it}."""
    found = {}
    for path in sorted((REPOSITORY / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(), path)):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            else:
                continue
            found |= {module.split(".")[0]: path for module in modules}
    return found


def our_modules():
    """Return the names by which the files and packages of the repository are imported."""
    names = {"tests"}
    for folder in OUR_FOLDERS:
        for path in (REPOSITORY / folder).rglob("*"):
            if path.suffix == ".py" or path.is_dir():
                names.add(path.stem)
    return names


def test_what_the_tests_import_is_installed():
    """By `pip install .[test]`: a package that only a developer's machine has breaks the CI."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    installed = {normal(re.split(r"[<>=~ ]", line)[0]) for line in wanted}
    known = sys.stdlib_module_names | our_modules()
    missing = {
        module: path.name
        for module, path in imported_by_tests().items()
        if module not in known
        and normal(PIP_NAMES.get(module, COMES_ALONG.get(module, module))) not in installed
    }
    assert not missing


@pytest.mark.parametrize("path", sorted((REPOSITORY / "envs").glob("*.yaml")), ids=lambda p: p.name)
def test_conda_environments_use_the_pinned_versions(path):
    for dependency in yaml.safe_load(path.read_text())["dependencies"]:
        name, version = dependency.split("=")
        if name not in NOT_FROM_PIP:
            assert constraints()[normal(CONDA_NAMES.get(name, name))] == version, dependency
