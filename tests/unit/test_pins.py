"""One version of each package: constraints.txt, pyproject.toml and envs/*.yaml agree."""

import re
import tomllib

import pytest
import yaml

from conftest import REPOSITORY

NOT_FROM_PIP = {"python", "gfortran", "make"}
CONDA_NAMES = {"pytorch": "torch", "python-xxhash": "xxhash"}


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


@pytest.mark.parametrize("path", sorted((REPOSITORY / "envs").glob("*.yaml")), ids=lambda p: p.name)
def test_conda_environments_use_the_pinned_versions(path):
    for dependency in yaml.safe_load(path.read_text())["dependencies"]:
        name, version = dependency.split("=")
        if name not in NOT_FROM_PIP:
            assert constraints()[normal(CONDA_NAMES.get(name, name))] == version, dependency
