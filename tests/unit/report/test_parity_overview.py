"""All verdicts in one view: shares, failures without a number, what was not run and why."""

from xml.etree import ElementTree

import pytest

from clearice.report.charts import parity_svg
from clearice.report.parity_overview import in_words, overview, parity_rows, shade


def row(rung, name, percent, passed=True, fault=None):
    about = {"rung": rung, "name": name, "passed": passed, "fault": fault, "percent": percent}
    measured = {"max_error": None if percent is None else percent * 1e-7, "at": [0, 1, 17]}
    return {**about, **measured, "value": 1.5, "reference": 1.25, "relative_l2": None}


def verdict(name, state, rows=(), **facts):
    rungs = {}
    for r in rows:
        rungs[r["rung"]] = (
            "passed" if r["passed"] and rungs.get(r["rung"]) != "failed" else "failed"
        )
    about = {"implementation": name, "precision": "float32", "verdict": state, "rungs": rungs}
    return {**about, "result": {"device": "abacus"}, "diagnosis": [], "rows": list(rows), **facts}


GOOD = verdict(
    "good",
    "passed",
    [row("bundle", "result.json", None), row("layer", "a", 7.0), row("layer", "b", 3.0)],
)
BAD = verdict(
    "bad <b>$x$",
    "failed",
    [
        row("layer", "a", 3.0),
        row("layer", "b", None, passed=False, fault="b.bin is missing"),
        row("loss", "test_loss", 350.0, passed=False),
    ],
)
IDLE = verdict("idle", "not run", diagnosis=["needs an NVIDIA GPU"])
del IDLE["rows"]


def test_the_shade_is_logarithmic_and_no_nan_is_pale():
    assert (shade(0.0), shade(0.1), shade(100), shade(1e9)) == (0, 0, 1, 1)
    assert shade(10) - shade(1) == pytest.approx(shade(1) - shade(0.1)) == pytest.approx(1 / 3)
    assert shade(float("nan")) == 0


def test_a_cell_per_rung_and_a_reason_where_there_is_none():
    shown = overview([BAD, IDLE, GOOD])
    assert [rung for rung, _ in shown["rungs"]] == ["bundle", "layer", "loss"]
    bad, idle, good = shown["rows"]
    assert bad["cells"][0] is None
    assert [(c["state"], c["share"], c["failed"]) for c in bad["cells"][1:]] == [
        ("failed", "no number", 1),
        ("failed", "350.0 %", 1),
    ]
    assert (idle["reason"], idle["worst"]) == ("needs an NVIDIA GPU", None)
    assert [c and c["share"] for c in good["cells"]] == ["ok", "7.0 %", None]
    assert (good["worst"]["name"], good["worst"]["at"]) == ("a", "0, 1, 17")
    assert (bad["worst"]["name"], bad["worst"]["percent"]) == ("test_loss", 350.0)


def test_the_sentence_counts_each_state():
    assert in_words([GOOD]) == "1 of 1 implementation agrees with the reference in every number."
    said = in_words([BAD, IDLE, GOOD, GOOD])
    assert said.startswith("2 of 4 implementations agree with")
    assert said.endswith("; 1 failed; 1 could not run here.")


def test_the_table_has_every_check_and_says_what_was_not_run():
    rows = list(parity_rows([BAD, IDLE, GOOD]))
    assert [r["implementation"] for r in rows] == [BAD["implementation"]] * 3 + ["idle"] + [
        "good"
    ] * 3
    assert rows[3]["fault"] == "needs an NVIDIA GPU"
    assert rows[0]["at"] == "0, 1, 17"


def test_the_figure_shows_the_same():
    text = " ".join(ElementTree.fromstring(parity_svg(overview([BAD, IDLE, GOOD]))).itertext())
    for words in ("✓ 7.0 %", "✗ 350.0 %", "✗ no number", "not run: needs an NVIDIA GPU", "<b>$x$"):
        assert words in text
    assert parity_svg(overview([IDLE]))
