"""Sections validation, parity and costs on the page: what they show, and say where nothing is."""

import csv
import os
import re
from urllib.parse import quote

import pytest

from benchmark_files import write_benchmark
from clearice.config import complete_config
from clearice.files import write_json
from clearice.micrographs.names import key_of
from clearice.report.results import read_results
from clearice.report.sections import validation
from known_denoisers import Constant
from report_run import LISTS, ODD_NAME, Run, text_of


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def section_of(page, name):
    """Return one section of a page, as HTML."""
    return re.search(rf'<section id="{name}".*?</section>', page, re.DOTALL)[0]


def test_without_anything_every_section_says_so(run):
    page = run.add_dataset(["a", "b"], tested=["b"]).write()
    said = {name: text_of(section_of(page, name)) for name in ("validation", "parity", "costs")}
    assert "Pick on denoised, refine on raw" in said["validation"]
    assert "Nothing was measured" in said["validation"]
    assert "No implementation was compared" in said["parity"]
    for words in (
        "There are no benchmark files",
        "The command of this run was not recorded",
        "No run was recorded",
        "snakemake --cores all",
    ):
        assert words in said["costs"]
    for table in ("parity", "jobs", "timeline", "evidence", "null_tests", "runs"):
        assert run.table(f"{table}.tsv") == []


def test_without_halves_and_truth_only_null_tests_are_shown(run):
    run.add_dataset(["a", "b"], tested=["b"]).add_denoised(["a", "b"], judges=(), tested=["b"])
    words = text_of(section_of(run.write(), "validation"))
    assert "There is no evidence for or against a gain" in words
    assert "There is no Fourier ring correlation" in words
    assert "– not made" in words
    assert run.table("evidence.tsv") == []
    assert {row["test"] for row in run.table("null_tests.tsv")} >= {"seams", "grid"}


def test_a_failed_null_test_is_marked_on_its_bar_and_leads_to_the_micrograph(run):
    run.add_dataset(["a", ODD_NAME], tested=[ODD_NAME])
    run.add_denoised(["a", ODD_NAME], tested=[ODD_NAME], network=Constant())
    section = section_of(run.write(), "validation")
    assert "✗ failed" in section
    assert "✓ passed" in section
    assert section.count("null tests failed") == 0  # the card says it, once
    keys = ("micrographs", "manifest", *LISTS)
    results = read_results(run.results, **{key: run.arguments[key] for key in keys})
    address = f"micrographs/{quote(key_of(ODD_NAME), safe='')}.html"
    for drawn, page in (({ODD_NAME: {"micrograph": ODD_NAME}}, address), ({}, None)):
        results.drawn = drawn
        shown = validation.section(results, run.arguments["config"])
        assert {test["page"] for test in shown.facts["null_tests"]} == {page}


def test_the_heat_table_tells_states_in_words(run):
    run.add_dataset(["a", "b"], tested=["b"])
    run.add_verdict("numpy", "passed").add_verdict("fortran", "failed")
    run.add_verdict("cudnn", "not run", rows=[], rungs={}, worst_percent=None,
                    diagnosis=["needs an <NVIDIA> GPU"])  # fmt: skip
    section = section_of(run.write(), "parity")
    words = text_of(section)
    assert "1 of 3 implementations agrees with the reference" in words
    for said in ("✓ 3.2 % passed", "✗ 7e+05 % failed, 1 of 1", "not run: needs an &lt;NVIDIA&gt;"):
        assert said in words
    rows = run.table("parity.tsv")
    assert {r["fault"] for r in rows if r["verdict"] == "not run"} == {"needs an <NVIDIA> GPU"}
    assert (run.results / "report" / "parity.svg").read_text().count("✗") == 1


def test_costs_of_a_run(run):
    run.add_dataset(["a", "b"], tested=["b"])
    for name, ended in (("a", 1_700_000_100), ("b", 1_700_000_160)):
        path = run.results / "shards" / f"{name}.benchmark.tsv"
        write_benchmark(path, 60, 100, ended, cpu_time=30, io_in=2048, mean_load=50)
    path = run.results / "model" / "gone" / "train_denoiser.benchmark.tsv"
    write_benchmark(path, 600, 100)
    record = {"format_version": 1, "status": "running", "started": "2026-01-01T00:00:00Z"}
    record |= {"ended": None, "jobs": {"planned": 3}, "command": "snakemake --cores 2 report"}
    write_json(run.results / "runs" / "2026-01-01T00-00-00Z.json", record)
    config = complete_config({"patches": {"size_px": 64}, "report": {"title": "x", "examples": 1}})
    words = text_of(section_of(run.write(config=config), "costs"))
    for said in (
        "2 jobs, 2 min 0 s in which at least one ran, 1 min 0 s of CPU time",
        "shards 2 2 min 0 s",
        "4.0 GiB",
        "3 settings differ from the defaults",
        "patches.size_px 1024",
        "snakemake --cores 2 report",
        "this run",
    ):
        assert said in words
    assert [(row["name"], row["cpu_s"]) for row in run.table("jobs.tsv")] == [
        ("a", "30"),
        ("b", "30"),
    ]
    assert run.table("timeline.tsv") == [
        {"step": "shards", "from_s": "0", "to_s": "120", "jobs": "2"}
    ]
    assert run.table("settings.tsv")[0]["key"] == "patches.size_px"
    assert {row["folder"] for row in run.table("disk.tsv")} >= {"shards", "dataset"}


def test_a_copy_that_lost_the_times_has_no_timeline(run):
    run.add_dataset(["a", "b"], tested=["b"])
    write_benchmark(run.results / "shards" / "a.benchmark.tsv", 60)
    write_benchmark(run.results / "dataset" / "write_manifest.benchmark.tsv", 600)
    page = run.write()
    assert "There is no timeline: all files have the time of a copy" in text_of(page)
    with open(run.results / "report" / "steps.tsv", newline="") as file:
        steps = [row["step"] for row in csv.DictReader(file, delimiter="\t")]
    assert steps == ["shards", "dataset"]
    assert os.path.getsize(run.results / "report" / "timeline.svg")
