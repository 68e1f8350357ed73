"""Which jobs run again after an edit of which module of the library, planned by Snakemake."""

import shutil
import subprocess
import sys

import pytest

from conftest import REPOSITORY, TINY_CONFIG, write_config

pytestmark = pytest.mark.slow

REPORT = {"report", "require_parity", "all"}
PARITY = {"compare_implementation", *REPORT}
REFERENCE = {"export_reference", "run_implementation", *PARITY}
DRAWN = {"draw_micrographs", *REPORT}
VALIDATION = {"validate_micrograph", "sum_up_validation", *DRAWN}
DENOISED = {"denoise_micrograph", *VALIDATION}
MODEL = {"train_denoiser", *REFERENCE, *DENOISED}
DATASET = {"list_micrographs", "concatenate_shards", "write_manifest"}
# Which micrographs are denoised or held out is known once list_micrographs, a checkpoint, has run.
LATE = {"denoise_micrograph", "validate_micrograph", "sum_up_validation", "draw_micrographs"}
SHARDS = {"shard_micrograph", *DATASET, *MODEL} - LATE
LINE = "\nADDED = 1\n"
# What is added to which file of the workflow, and the rules whose jobs run again.
EDITS = {
    "a comment": ("scripts/clearice/shards/patches.py", "\n# Why.\n", set()),
    "a comment in a script": ("scripts/shard_micrograph.py", "\n# Why.\n", set()),
    "a line that speaks to a person": ("scripts/clearice/errors.py", LINE, set()),
    "a line of the page": ("scripts/clearice/report/page.py", LINE, REPORT),
    "the style of the page": ("report/page.css", "/* */", DRAWN),
    "a section of the page": ("report/costs.html", "<!-- -->", REPORT),
    "the page of a micrograph": ("report/micrograph.js", "/* */", DRAWN),
    "a curve of a micrograph": ("scripts/clearice/report/drawing/curves.py", LINE, DRAWN),
    "a line of a verdict": ("scripts/clearice/parity/verdict.py", LINE, PARITY),
    "an implementation": ("implementations/numpy_cnn.py", LINE, {"run_implementation", *PARITY}),
    "a line of the bundle": ("scripts/clearice/reference/cases.py", LINE, REFERENCE),
    "a line of the tiles": ("scripts/clearice/denoised/tiles.py", LINE, DENOISED),
    "a line of a null test": ("scripts/clearice/validation/null_tests.py", LINE, VALIDATION),
    "a line of the summary": (
        "scripts/clearice/validation/summary.py",
        LINE,
        {"sum_up_validation", *DRAWN},
    ),
    "a network": ("scripts/clearice/model/networks.py", LINE, MODEL),
    "the rows of a patch": ("scripts/clearice/shards/patches.py", LINE, SHARDS),
    "the reading of a micrograph": ("scripts/clearice/micrographs/mrc.py", LINE, SHARDS),
    "the simulation": (
        "scripts/clearice/micrographs/simulation/optics.py",
        LINE,
        {"simulate_micrograph", *SHARDS},
    ),
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the workflow, and a run folder whose results it has just made."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(
        REPOSITORY / "workflow",
        folder / "workflow",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copytree(REPOSITORY / "envs", folder / "envs")
    shutil.copy(REPOSITORY / "Snakefile", folder)
    write_config(folder / "run", TINY_CONFIG)
    snakemake(folder, "--cores", "2")
    return folder


def snakemake(checkout, *arguments):
    """Run Snakemake with the profile of the copy; return what it prints."""
    words = [sys.executable, "-m", "snakemake", "--workflow-profile", "workflow/profiles/default"]
    process = subprocess.run(
        [*words, "--directory", "run", *arguments],
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout[-4000:]
    return process.stdout


def planned(checkout):
    """Return the names of the rules whose jobs a dry run plans."""
    output = snakemake(checkout, "--cores", "2", "--dry-run")
    if "Nothing to be done" in output:
        return set()
    table = output.split("because\n")[1].split("\ntotal ")[0].splitlines()
    return {line.split()[0] for line in table}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_reruns_what_depends_on_it_and_nothing_else(checkout, edit):
    name, text, expected = EDITS[edit]
    path = checkout / "workflow" / name
    before = path.read_text()
    path.write_text(before + text)
    try:
        assert planned(checkout) == expected
    finally:
        path.write_text(before)


def test_another_place_reruns_nothing(checkout, tmp_path):
    moved = shutil.copytree(checkout, tmp_path / "moved")
    for path in moved.joinpath("workflow").rglob("*.py"):
        path.touch()
    assert planned(moved) == set()
