"""The comparison of denoisers as JSON and as Markdown tables."""

import json
import statistics

COSTS = {  # column -> (figure, format)
    "CPU s per megapixel": ("cpu_seconds_per_megapixel", ".2f"),
    "wall s per megapixel": ("wall_seconds_per_megapixel", ".2f"),
    "start (CPU s)": ("start_cpu_seconds", ".1f"),
    "peak MiB": ("peak_mib", ".0f"),
    "training (CPU s)": ("training_cpu_seconds", ".0f"),
}


def write(report, path):
    """Write the report as JSON to `path` and as tables beside it, .md."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = dict(report)
    for group in ("specimens", "real"):  # places in the cache say nothing elsewhere
        kept[group] = {
            case: {
                method: {
                    key: value for key, value in figures.items() if key not in ("image", "error")
                }
                for method, figures in methods.items()
            }
            for case, methods in report[group].items()
        }
    path.write_text(json.dumps(_rounded(kept), indent=1) + "\n")
    path.with_suffix(".md").write_text("\n".join(_lines(report)) + "\n")


def _rounded(value):
    """Return the report with four decimals, which is more than any figure is good for."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(value, 4) if isinstance(value, float) else value


def _lines(report):
    methods, specimens, real = report["methods"], report["specimens"], report["real"]
    yield "# Denoisers side by side"
    yield ""
    yield (
        f"{report['machine']}. One micrograph of {report['size_px']} x {report['size_px']} px per "
        f"specimen, seed {report['seed']}; the image denoised is one half. Made by "
        "`python benchmarks/denoising.py`, which says what each figure means."
    )
    for title, key, form in (
        ("SNR (dB), whole micrograph", "snr_db", ".2f"),
        ("SNR (dB), middle of the micrograph", "snr_middle_db", ".2f"),
        (
            "Average precision of picking by a fixed blob detector",
            "picking_average_precision",
            ".3f",
        ),
    ):
        yield from _table(title, specimens, methods, key, form)
    if real:
        yield from _real(real, methods)
    yield from _cost(specimens, methods)


def _table(title, cases, methods, key, form):
    yield from ("", f"## {title}", "")
    yield f"| specimen | {' | '.join(methods.values())} |"
    yield "|---" * (len(methods) + 1) + "|"
    for case, figures in cases.items():
        yield f"| {case} | " + " | ".join(_cell(figures[m].get(key), form) for m in methods) + " |"


def _real(real, methods):
    yield from ("", "## Real frames (EMPIAR-10146): FRC with the raw mean of the other 49", "")
    yield "Means of six micrographs, by bands of cycles per pixel. A linear filter changes no FRC."
    yield from (
        "",
        "| method | 0.01-0.02 | 0.02-0.04 | 0.04-0.07 | correlation |",
        "|---|---|---|---|---|",
    )
    for name, title in methods.items():
        figures = [case[name] for case in real.values() if "frc" in case[name]]
        if figures:
            columns = [*zip(*(f["frc"] for f in figures), strict=True)]
            columns.append([f["correlation"] for f in figures])
            yield f"| {title} | " + " | ".join(f"{statistics.mean(c):.3f}" for c in columns) + " |"


def _cost(specimens, methods):
    yield from ("", "## Cost", "")
    yield "Medians over the specimens. The Gaussian and Wiener filters need the truth: none given."
    yield from ("", f"| method | {' | '.join(COSTS)} |", "|---" * (len(COSTS) + 1) + "|")
    for name, title in methods.items():
        figures = [case[name] for case in specimens.values() if "peak_mib" in case[name]]
        if figures:
            costs = [
                format(statistics.median(f[key] for f in figures), form)
                if key in figures[0]
                else ""
                for key, form in COSTS.values()
            ]
            yield f"| {title} | {' | '.join(costs)} |"


def _cell(value, form):
    return "failed" if value is None else format(value, form)
