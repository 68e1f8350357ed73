"""Verdicts in one view: implementations by rungs, and the share of the tolerance that each used."""

import math

from clearice.parity.verdict import percent_text
from clearice.reference.names import RUNGS

PARITY_COLUMNS = (
    *("implementation", "precision", "verdict", "rung", "name", "passed", "percent"),
    *("max_error", "at", "value", "reference"),
    *("relative_l2", "oracle_l2", "reference_oracle_l2", "fault"),
)
RUNG_WORDS = {
    "bundle": "the right files",
    "layer": "each layer alone",
    "output": "the whole network",
    "loss": "the error it minimises",
    "gradients": "what training goes by",
    "loss curve": "training step by step",
    "weights": "after training",
    "repeatability": "the same again",
}
_FAINTEST_PERCENT = 0.1  # and below: no shade; 100 % is the full shade


def shade(percent):
    """Return how dark a share of a tolerance is drawn, 0..1 on a logarithmic scale."""
    if not percent > _FAINTEST_PERCENT:  # no NaN either
        return 0.0
    decades = math.log10(percent / _FAINTEST_PERCENT) / math.log10(100 / _FAINTEST_PERCENT)
    return min(decades, 1.0)


def rung_rows(verdict):
    """Return one row per rung of a verdict: its state, checks, the worst share and where.

    `share` is that share in words, or what stands for it: "ok" where nothing is measured, "no
    number" where a check failed without one (a file that is missing, NaN). `failed` counts checks.
    """
    rows = []
    for rung, state in verdict["rungs"].items():
        checks = [row for row in verdict["rows"] if row["rung"] == rung]
        measured = [row for row in checks if row["percent"] is not None]
        worst = max(measured, key=lambda row: row["percent"], default=None)
        percent = worst and worst["percent"]
        failed = [row for row in checks if not row["passed"]]
        faults = [row["fault"] for row in failed if row["fault"]]
        unmeasured = "no number" if failed else "ok"
        # What failed without a number is worse than what kept its tolerance.
        told = percent is not None and (not faults or percent > 100)
        rows.append(
            {
                "rung": rung,
                "state": state,
                "checks": len(checks),
                "failed": len(failed),
                "worst_percent": percent,
                "worst": worst and worst["name"],
                "max_error": max((row["max_error"] for row in measured), default=None),
                "share": percent_text(percent) if told else unmeasured,
                "shade": shade(percent) if percent is not None else 0.0,
                "fault": faults[0] if faults else None,
            }
        )
    return rows


def worst_element(verdict):
    """Return the check that used most of its tolerance, its `at` as text; None without any.

    The element of the tensor that differs most has the index `at`, counted from 0, last axis
    fastest; a loss has none.
    """
    measured = [row for row in verdict.get("rows", ()) if row["percent"] is not None]
    worst = max(measured, key=lambda row: row["percent"], default=None)
    return worst and {**worst, "at": index_text(worst["at"])}


def index_text(index):
    """Return an index as text: 0, 1, 17, 4; nothing for a scalar."""
    return ", ".join(map(str, index)) if isinstance(index, list) else ""


def overview(verdicts):
    """Return {"rungs": [(name, words)], "rows"}: a row per implementation, a cell per rung or None.

    A row holds implementation, precision, verdict, device, `cells` (rows of rung_rows, None for a
    rung that it has not) and `reason`: why it was not run, in its own words.
    """
    met = {rung for verdict in verdicts for rung in verdict["rungs"]}
    rungs = [rung for rung in RUNGS if rung in met]
    rows = []
    for verdict in verdicts:
        cells = {row["rung"]: row for row in rung_rows(verdict)}
        device = verdict["result"].get("device")
        rows.append(
            {
                **{key: verdict[key] for key in ("implementation", "precision", "verdict")},
                "device": device if isinstance(device, str) else None,
                "cells": [cells.get(rung) for rung in rungs],
                "reason": _reason(verdict) if verdict["verdict"] == "not run" else None,
                "worst": worst_element(verdict),
            }
        )
    return {"rungs": [(rung, RUNG_WORDS[rung]) for rung in rungs], "rows": rows}


def _reason(verdict):
    return next(iter(verdict["diagnosis"]), "it gave no reason")


def in_words(verdicts):
    """Say in a sentence how many implementations agree, failed, and were not run."""
    counts = dict.fromkeys(("passed", "failed", "not run"), 0)
    for verdict in verdicts:
        counts[verdict["verdict"]] += 1
    said = [
        f"{counts['passed']} of {len(verdicts)} implementation{'s' * (len(verdicts) != 1)} "
        f"agree{'s' * (counts['passed'] == 1)} with the reference in every number"
    ]
    said += [f"{counts['failed']} failed"] if counts["failed"] else []
    said += [f"{counts['not run']} could not run here"] if counts["not run"] else []
    return "; ".join(said) + "."


def parity_rows(verdicts):
    """Yield one row of PARITY_COLUMNS per check, and one per implementation that was not run."""
    for verdict in verdicts:
        about = {key: verdict[key] for key in ("implementation", "precision", "verdict")}
        for row in verdict.get("rows", ()):
            yield {**row, **about, "at": index_text(row["at"])}
        if verdict["verdict"] == "not run":
            yield {**about, "fault": _reason(verdict)}
