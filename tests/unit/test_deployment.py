"""What others install from: the Apptainer definition, and the entry of the workflow catalog."""

import re

import yaml

from conftest import REPOSITORY


def sections(text):
    """Return section -> its lines of an Apptainer definition; the header is ""."""
    parts = re.split(r"^%(\w+)$", re.sub(r"(?m)^\s*#.*\n", "", text), flags=re.M)
    found = dict(zip(parts[1::2], parts[2::2], strict=True)) | {"": parts[0]}
    return {name: [line.strip() for line in body.splitlines() if line.strip()]
            for name, body in found.items()}  # fmt: skip


def test_the_image_is_installed_from_the_pins_and_from_files_that_are_here():
    definition = sections((REPOSITORY / "envs" / "clearice.def").read_text())
    copied = [line.split() for line in definition["files"]]
    for source, target in copied:
        assert (REPOSITORY / source).exists(), source
        assert target == f"/opt/clearice/{source}"
    names = {source for source, _ in copied}
    assert {"Snakefile", "workflow", "constraints.txt", "pyproject.toml"} <= names
    installs = [line for line in definition["post"] if "pip install" in line]
    assert len(installs) == 1
    assert "--constraint constraints.txt" in installs[0]
    assert "==" not in "\n".join(definition["post"])  # versions stand in constraints.txt alone


def test_the_image_and_the_environments_have_one_python():
    definition = sections((REPOSITORY / "envs" / "clearice.def").read_text())
    (image,) = re.findall(r"From: python:(\d+\.\d+)-", "\n".join(definition[""]))
    for path in (REPOSITORY / "envs").glob("*.yaml"):
        assert f"python={image}" in yaml.safe_load(path.read_text())["dependencies"], path.name


def test_the_catalog_finds_the_workflow_and_its_flags():
    entry = yaml.safe_load((REPOSITORY / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    profile = entry["mandatory-flags"]["flags"].split()[-1]
    assert (REPOSITORY / profile / "config.yaml").exists()
    deployment = entry["software-stack-deployment"]
    assert set(deployment) == {"conda", "apptainer", "apptainer+conda", "report"}
    # What a repository must have to be found there.
    assert (REPOSITORY / "Snakefile").exists()
    assert list((REPOSITORY / "workflow" / "rules").glob("*.smk"))
    readme = (REPOSITORY / "README.md").read_text().lower()
    assert "snakemake" in readme
    assert "workflow" in readme
