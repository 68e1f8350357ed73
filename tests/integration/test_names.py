"""Micrographs of any name go through the whole workflow, and keep that name in everything said."""

import csv
import json

import pytest

from clearice.micrographs.names import key_of, name_of
from conftest import run_snakemake, write_config
from mrc_files import noise_image, write_mrc

NAMES = [
    "plain",
    "Position_99_035[-61_00]",
    "two  blanks",
    " blanks around ",
    "no\u00a0break",
    "comma, and = sign",
    'it\'s "quoted" `$HOME` $(id)',
    "{braces} {micrograph}",
    "back\\slash|pipe<&>;!#~?*",
    "50%20",
    "-dash",
    "abc" * 24,
    "{" * 21,
    "x" * 251,
    "\u00e9" * 123,
    "summary",
    "plain.input",
    "plain.json",
    "plain.benchmark",
]
CONFIG = {
    "micrographs_per_job": 20,  # PyTorch starts once for all of them
    "micrographs": {"source": "files", "files": "da {x}ta/*.mrc"},
    "patches": {"size_px": 64, "stride_px": 64, "target": "synthetic_noise"},
    "split": {"test_micrographs": "te{s}t.txt"},
    "model": {"simple_cnn": {"epochs": 1, "device": "cpu"}},
    "reference": {"steps": 3, "crop_px": 32},
    "parity": {
        "implementations": {"own": {"command": "{python} 'pro{gram} $x.py'"}},
        "required": False,
    },
    "denoised": {"architecture": "simple_cnn", "device": "cpu"},
    "report": {"title": "{braces} of {x}"},
}
TESTED = {"summary", "x" * 251, " blanks around "}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A whole run with all those names."""
    folder = tmp_path_factory.mktemp("names") / "run"
    (folder / "da {x}ta").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        write_mrc(folder / "da {x}ta" / f"{name}.mrc", noise_image(64, 80, number))
    (folder / "te{s}t.txt").write_text("\n".join(TESTED) + "\n")
    (folder / "pro{gram} $x.py").write_text("raise SystemExit(3)\n")
    write_config(folder, CONFIG)
    run_snakemake(folder, "--cores", "2")
    return folder


def test_every_name_is_in_the_table_and_in_the_report(run):
    with open(run / "results/dataset/micrographs.tsv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert sorted(row["micrograph"] for row in rows) == sorted(NAMES)
    assert {row["micrograph"] for row in rows if row["split"] == "test"} == TESTED
    assert {row["status"] for row in rows} == {"ok"}
    page = (run / "results/report/index.html").read_text(encoding="utf-8")
    assert "{braces} of {x}" in page
    assert "Position_99_035[-61_00]" in page


def test_every_micrograph_has_its_results_under_its_key(run):
    for step, names in (("shards", NAMES), ("denoised", NAMES), ("validation", TESTED)):
        found = {}
        for path in (run / "results" / step).glob("*.json"):
            record = json.loads(path.read_text())
            if path.name != "summary.json":
                found[path.stem] = record["micrograph"]
        assert found == {key_of(name): name for name in names}
    for name in NAMES:
        assert (run / f"results/denoised/{key_of(name)}.mrc").is_file()
        assert name_of(key_of(name)) == name or len(name.encode()) > 220


def test_a_second_run_has_nothing_to_do(run):
    assert "Nothing to be done" in run_snakemake(run, "--cores", "2", "--dry-run").stdout
