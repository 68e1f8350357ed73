"""Null tests on the page: the worst micrograph of each, as a share of its threshold."""

from clearice.report.null_tests_shown import QUESTIONS, null_test_rows, null_tests_shown


def record(*tests):
    keys = ("name", "number", "threshold", "passed", "verdict")
    return {"null_tests": [dict(zip(keys, test, strict=True)) for test in tests]}


RECORDS = {
    "a": record(
        ("flatness", None, None, None, "not measured: no other half"),
        ("noise response", 0.1, 0.5, True, "draws 10 %"),
        ("calibration", 0.2, 0.1, False, "too much"),
        ("seams", 0.0, 0.001, True, "no seams"),
    ),
    "b": record(
        ("flatness", None, None, None, "not measured: no other half"),
        ("noise response", 0.3, 0.5, True, "draws 30 %"),
        ("calibration", None, None, False, "the output is constant"),
        ("seams", 0.0, 0.001, True, "no seams"),
    ),
}


def test_each_test_shows_its_worst_micrograph():
    shown = {test["name"]: test for test in null_tests_shown(RECORDS)}
    assert list(shown) == ["flatness", "noise response", "calibration", "seams"]
    noise, calibration, flatness = (
        shown[name] for name in ("noise response", "calibration", "flatness")
    )
    assert (noise["micrograph"], noise["percent"], noise["state"]) == ("b", 60, "passed")
    assert noise["meter"] == 40  # of a track that ends at 150 %
    assert (calibration["micrograph"], calibration["failed_on"], calibration["meter"]) == (
        "b",
        2,
        None,
    )
    assert (flatness["state"], flatness["judged"]) == ("not made", 0)
    assert shown["seams"]["percent"] == 0
    assert null_tests_shown({}) == []


def test_a_meter_ends_at_its_end():
    (test,) = null_tests_shown({"a": record(("grid", 9.0, 0.01, False, "a pattern"))})
    assert (test["meter"], test["percent"], test["state"]) == (100, 90_000, "failed")


def test_a_row_per_micrograph_and_test():
    rows = list(null_test_rows(RECORDS))
    assert len(rows) == 8
    assert {row["test"] for row in rows} <= set(QUESTIONS)
