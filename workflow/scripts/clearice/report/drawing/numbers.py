"""The numbers of one page: quality against raw and the best linear filter, and curves."""

import base64

from clearice.report.drawing.curves import Axis, Line, line_chart, spanned
from clearice.report.validated import MEASURES
from clearice.report.words import on_page

_LINEAR = {"gaussian": "Gaussian", "wiener": "Wiener"}
_NAMES = {"raw": "raw", "denoised": "denoised", "target": "other half", "truth": "truth"}
_DASHES = {"raw": "", "denoised": "7 3", "target": "2 3", "truth": "9 3 2 3"}
_TARGET_LINES = (
    ("raw_target", "raw", "raw", ""),
    ("denoised_target", "denoised", "denoised", "7 3"),
    ("truth_target", "truth (the most possible)", "truth", "9 3 2 3"),
)
_TRUTH_LINES = (
    ("raw_truth", "raw", "raw", ""),
    ("denoised_truth", "denoised", "denoised", "7 3"),
)


def quality_rows(validation):
    """Return rows {measure, raw, linear, filter, denoised, better} of a record, texts.

    `better` says whether denoised is better than the best linear filter, None where it is not
    known or where both have the same text. No rows without a record.
    """
    rows = []
    for measure in MEASURES:
        found = ((validation or {}).get(measure.judge) or {}).get(measure.key) or {}
        if found.get("denoised") is None:
            continue
        linear = {n: found[n] for n in _LINEAR if found.get(n) is not None}
        more_is_better = measure.better == "higher"
        best = (max if more_is_better else min)(linear, key=linear.get, default=None)
        values = [found.get("raw"), linear.get(best), found["denoised"]]
        texts = [on_page(value, measure.form) for value in values]
        differs = best is not None and texts[1] != texts[2]
        better = (found["denoised"] > linear[best]) == more_is_better if differs else None
        row = dict(zip(("raw", "linear", "denoised"), texts, strict=True))
        about = {"measure": measure.words, "filter": _LINEAR.get(best, ""), "better": better}
        rows.append(row | about)
    return rows


def spectra_figure(frequency_per_px, powers, pixel_size_angstrom):
    """Return {"svg", "tsv"} of power spectra (role -> list), None without any power."""
    lines = [Line(_NAMES[r], r, values, _DASHES[r]) for r, values in powers.items()]
    span = spanned(lines, is_log=True)
    if span is None:
        return None
    x_values, x = _frequency_axis(frequency_per_px, pixel_size_angstrom)
    label = f"Power against spatial frequency of {', '.join(line.name for line in lines)}."
    y = Axis("power per pixel", *span, is_log=True)
    return {
        "svg": line_chart(x_values, lines, x, y, label),
        "tsv": _tsv(frequency_per_px, powers),
    }


def frc_figures(validation, pixel_size_angstrom):
    """Return figures {"title", "svg", "tsv"} of the Fourier ring correlations of a record."""
    figures = []
    if not validation:
        return figures
    frequency = validation["frequency_per_px"][1:]
    for title, wanted in (
        ("against the raw other half", _TARGET_LINES),
        ("against the truth", _TRUTH_LINES),
    ):
        curves = {pair: validation["frc"].get(pair) for pair, *_ in wanted}
        curves = {pair: values[1:] for pair, values in curves.items() if values}
        lines = [Line(name, k, curves[pair], d) for pair, name, k, d in wanted if pair in curves]
        if not lines or spanned(lines) is None:
            continue
        x_values, x = _frequency_axis(frequency, pixel_size_angstrom)
        y = Axis("correlation", min(-0.1, spanned(lines)[0]), 1.02)
        label = f"Fourier ring correlation {title} of {', '.join(line.name for line in lines)}."
        svg = line_chart(x_values, lines, x, y, label, marks=[(0.0, "")])
        figures.append({"title": title, "svg": svg, "tsv": _tsv(frequency, curves)})
    return figures


def _frequency_axis(frequency_per_px, pixel_size_angstrom):
    """Return x values and their Axis, in 1/angstrom where a pixel has a size."""
    scale, unit = (1 / pixel_size_angstrom, "1/Å") if pixel_size_angstrom else (1, "per pixel")
    values = [f * scale for f in frequency_per_px]
    return values, Axis(f"spatial frequency ({unit})", 0.0, values[-1])


def _tsv(frequency_per_px, columns):
    """Return a data URI of the numbers as tab-separated text."""
    lines = ["\t".join(["frequency_per_px", *columns])]
    for values in zip(frequency_per_px, *columns.values(), strict=True):
        lines.append("\t".join("" if v is None else f"{v:.6g}" for v in values))
    text = base64.b64encode("\n".join([*lines, ""]).encode()).decode("ascii")
    return f"data:text/tab-separated-values;base64,{text}"
