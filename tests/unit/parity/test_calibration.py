"""The measured table in docs/parity.md is that of benchmarks/results, and says what it must."""

import importlib.util
import json

import pytest


@pytest.fixture
def report(repository):
    path = repository / "benchmarks" / "results" / "parity.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_documented_table_is_the_measured_one(report, repository):
    spec = importlib.util.spec_from_file_location(
        "parity_benchmark", repository / "benchmarks" / "parity.py"
    )
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    text = (repository / "docs" / "parity.md").read_text(encoding="utf-8")
    inside = text.split("<!-- calibration: begin -->")[1].split("<!-- calibration: end -->")[0]
    assert inside.strip() == benchmark.table(report).strip()


def test_every_class_passes_as_declared_and_only_float32_as_float32(report):
    assert not report.get("errors")
    for run in report["runs"]:
        assert run["verdict"] in ("passed", "not run"), run["name"]
        assert run["as_float32"] in (None, "failed"), run["name"]
        if run["verdict"] == "passed" and run["precision"] == "float32":
            assert run["original_tolerances"], run["name"]
