"""Section validation: whether the denoised micrographs can be trusted."""

from clearice.report import figures
from clearice.report.facts import page_file
from clearice.report.null_tests_shown import NULL_TEST_COLUMNS, null_test_rows, null_tests_shown
from clearice.report.section import Section
from clearice.report.validated import EVIDENCE_COLUMNS
from clearice.tsv import table_text
from clearice.validation.summary import null_test_words

_LABELS = {
    "target": "Fourier ring correlation of raw and denoised with the raw other half.",
    "truth": "Fourier ring correlation of raw and denoised with the truth.",
}
_NOTHING = "No held-out micrograph has another half\nor a truth to be judged by."
_IMAGES = {
    "raw": "raw",
    "gaussian": "the Gaussian",
    "wiener": "the Wiener filter",
    "denoised": "denoised",
}


def section(results, config):
    """Return the Section of the evidence, the null tests and the Fourier ring correlations."""
    validation, frc, size = results.validation, results.frc, results.pixel_size_angstrom
    records = validation.by_name if validation else {}
    evidence = validation.evidence_rows() if validation else []
    tests = [
        {**test, "page": _page(results.drawn.get(test["micrograph"]))}
        for test in null_tests_shown(records)
    ]
    judges = [judge for judge in _LABELS if frc and f"raw_{judge}" in frc]
    facts = {
        "enabled": config["validation"]["enabled"],
        "summary": validation and validation.summary,
        "words": _words(validation.summary) if validation else [],
        "evidence": [_judged(row) for row in evidence],
        "null_tests": tests,
        "failed": [test for test in tests if test["state"] == "failed"],
        "frc": frc,
        "charts": [
            figures.for_page(figures.frc_svg(frc, size, [judge]), _LABELS[judge], f"frc-{judge}")
            for judge in judges
        ],
    }
    drawn = figures.frc_svg(frc, size) if frc else figures.no_data(_NOTHING, "svg")
    pairs = [key for key, value in (frc or {}).items() if isinstance(value, list)]
    files = {
        "frc.svg": figures.for_file(drawn),
        "frc.tsv": table_text(pairs or ["frequency_per_px"], curve_rows(frc) if frc else ()),
        "evidence.tsv": table_text(EVIDENCE_COLUMNS, evidence),
        "null_tests.tsv": table_text(NULL_TEST_COLUMNS, null_test_rows(records)),
    }
    return Section(facts, files)


def curve_rows(curves):
    """Yield one row per ring of mean Fourier ring correlations."""
    pairs = [key for key, value in curves.items() if isinstance(value, list)]
    for values in zip(*(curves[key] for key in pairs), strict=True):
        yield dict(zip(pairs, values, strict=True))


def _words(summary):
    """Return the sentences of a summary, without that on failed null tests, which have a card."""
    told = null_test_words(summary) if summary["failed"] else []
    return [line for line in summary["words"] if line not in told]


def _page(drawn):
    """Return the address, relative to the report, of the page of what was drawn; None without."""
    return f"micrographs/{page_file(drawn['micrograph'])}" if drawn else None


def _judged(row):
    """Return a row of evidence with the images that are best, as it shows them, and in words."""
    shown = {name: format(row[name], row["form"]) for name in _IMAGES if row[name] is not None}
    choose = max if row["better"] == "higher" else min
    value = shown[choose(shown, key=lambda name: row[name])]
    best = [name for name, text in shown.items() if text == value]
    words = "all alike" if len(best) == len(shown) > 1 else " and ".join(map(_IMAGES.get, best))
    return {**row, "best": best, "best_words": words}
