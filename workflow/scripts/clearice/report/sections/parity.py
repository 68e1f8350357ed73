"""Whether other implementations compute what the reference computes."""

from clearice.report.section import Section
from clearice.tsv import table_text

PARITY_COLUMNS = (
    *("implementation", "precision", "verdict", "rung", "name", "passed", "percent"),
    *("max_error", "relative_l2", "oracle_l2", "reference_oracle_l2", "fault"),
)


def section(results, config):
    """Return the Section of the parity."""
    verdicts = [{**verdict, "by_rung": rung_rows(verdict)} for verdict in results.verdicts]
    table = table_text(PARITY_COLUMNS, parity_rows(results.verdicts))
    return Section({"verdicts": verdicts}, {"parity.tsv": table})


def parity_rows(verdicts):
    """Yield one row per check of every verdict, for the table beside the page."""
    for verdict in verdicts:
        about = {key: verdict[key] for key in ("implementation", "precision", "verdict")}
        for row in verdict.get("rows", ()):
            yield {**row, **about}


def rung_rows(verdict):
    """Return one row per rung: its state, checks, the worst share of a tolerance and where."""
    rows = []
    for rung, state in verdict["rungs"].items():
        checks = [row for row in verdict["rows"] if row["rung"] == rung]
        measured = [row for row in checks if row["percent"] is not None]
        worst = max(measured, key=lambda row: row["percent"], default=None)
        rows.append(
            {
                "rung": rung,
                "state": state,
                "checks": len(checks),
                "worst_percent": worst and worst["percent"],
                "worst": worst and worst["name"],
                "max_error": max((row["max_error"] for row in measured), default=None),
            }
        )
    return rows
