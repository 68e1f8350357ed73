"""Whether the denoised micrographs can be trusted: evidence, null tests, correlations."""

from clearice.report import figures
from clearice.report.section import Section
from clearice.tsv import table_text

_LABELS = {
    "target": "Fourier ring correlation of raw and denoised with the raw other half.",
    "truth": "Fourier ring correlation of raw and denoised with the truth.",
}
_NOTHING = "No held-out micrograph has another half\nor a truth to be judged by."


def section(results, config):
    """Return the Section of the validation."""
    frc, size = results.frc, results.pixel_size_angstrom
    judges = [judge for judge in _LABELS if frc and f"raw_{judge}" in frc]
    facts = {
        "summary": results.validation and results.validation.summary,
        "evidence": results.validation.evidence_rows() if results.validation else [],
        "frc": frc,
        "figures": [
            figures.for_page(figures.frc_svg(frc, size, [judge]), _LABELS[judge], f"frc-{judge}")
            for judge in judges
        ],
    }
    drawn = figures.frc_svg(frc, size) if frc else figures.no_data(_NOTHING, "svg")
    pairs = [key for key, value in (frc or {}).items() if isinstance(value, list)]
    table = table_text(pairs or ["frequency_per_px"], curve_rows(frc) if frc else ())
    return Section(facts, {"frc.svg": figures.for_file(drawn), "frc.tsv": table})


def curve_rows(curves):
    """Yield one row per ring of mean Fourier ring correlations."""
    pairs = [key for key, value in curves.items() if isinstance(value, list)]
    for values in zip(*(curves[key] for key in pairs), strict=True):
        yield dict(zip(pairs, values, strict=True))
