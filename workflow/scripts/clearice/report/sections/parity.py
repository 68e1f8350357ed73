"""Section parity: whether other implementations compute the same numbers, and how nearly."""

from clearice.report import charts, figures
from clearice.report.parity_overview import (
    PARITY_COLUMNS,
    in_words,
    overview,
    parity_rows,
    rung_rows,
)
from clearice.report.section import Section
from clearice.tsv import table_text

_NOTHING = "No implementation was compared."


def section(results, config):
    """Return the Section: an overview, the worst number of each implementation, all checks."""
    verdicts = results.verdicts
    shown = overview(verdicts)
    facts = {
        "words": in_words(verdicts),
        **shown,
        "worst": [
            {"implementation": row["implementation"], **row["worst"]}
            for row in shown["rows"]
            if row["worst"]
        ],
        "verdicts": [{**verdict, "by_rung": rung_rows(verdict)} for verdict in verdicts],
    }
    drawn = charts.parity_svg(shown) if verdicts else figures.no_data(_NOTHING, "svg")
    files = {
        "parity.svg": figures.for_file(drawn),
        "parity.tsv": table_text(PARITY_COLUMNS, parity_rows(verdicts)),
    }
    return Section(facts, files)
