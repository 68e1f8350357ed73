"""Which micrographs went in: the table, what each was checked for, what the archive says."""

from clearice.micrographs.checks import measured_names
from clearice.report.checked import check_rows
from clearice.report.facts import entry_lines
from clearice.report.section import Section
from clearice.tsv import table_text

MICROGRAPH_COLUMNS = (
    *("micrograph", "status", "reason", "split", "patches", "height_px", "width_px"),
    *("pixel_size_angstrom", "gain_over_linear_db", "correlation_raw", "correlation_denoised"),
    "warnings",
    *measured_names(),
)


def section(results, config):
    """Return the Section of the micrographs."""
    rows = micrograph_rows(results.micrographs, results.validation)
    facts = {
        "rows": rows,
        "checks": check_rows(results.micrographs),
        "entry": results.entry and entry_lines(results.entry, results.micrographs),
    }
    return Section(facts, {"micrographs.tsv": table_text(MICROGRAPH_COLUMNS, rows)})


def micrograph_rows(micrographs, validation):
    """Return the rows of the table: what list_micrographs wrote, and what denoising gained."""
    rows = []
    for row in micrographs:
        record = validation.by_name.get(row["micrograph"], {}) if validation else {}
        target, truth = record.get("target") or {}, record.get("truth") or {}
        correlation = target.get("correlation", {})
        gain = truth.get("gain_over_linear_db") if truth else target.get("gain_over_linear_db")
        rows.append(
            {
                **row,
                "gain_over_linear_db": gain,
                "correlation_raw": correlation.get("raw"),
                "correlation_denoised": correlation.get("denoised"),
            }
        )
    return rows
