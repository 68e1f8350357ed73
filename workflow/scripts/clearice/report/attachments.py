"""The figures and tables that lie beside the page as files of their own."""

from pathlib import Path

from clearice.files import atomic_path, write_text
from clearice.report import figures
from clearice.report.page import (
    MICROGRAPH_COLUMNS,
    PARITY_COLUMNS,
    STEP_COLUMNS,
    curve_rows,
    micrograph_rows,
    parity_rows,
)
from clearice.tsv import table_text

_SHEET_EXAMPLES = 6  # in examples.png, whose memory grows with them; the page shows all
_NOTHING = {
    "loss": "Nothing was trained.",
    "frc": "No held-out micrograph has another half\nor a truth to be judged by.",
    "examples": "No micrograph was denoised.",
}


def draw_curves(results):
    """Return name -> SVG of each figure that there is something to draw for, the page's too."""
    drawn, frc = {}, results.frc
    if any(results.histories.values()):
        histories = {name: rows for name, rows in results.histories.items() if rows}
        drawn["loss"] = figures.loss_svg(histories)
    if frc:
        size = results.pixel_size_angstrom
        drawn["frc"] = figures.frc_svg(frc, size)
        for judge in ("target", "truth"):
            if f"raw_{judge}" in frc:
                drawn[f"frc_{judge}"] = figures.frc_svg(frc, size, [judge])
    return drawn


def write_pictures(paths, drawn, patches, examples):
    """Write loss.svg, frc.svg, patches.png, examples.png; one with nothing to show says so.

    `paths` are theirs, in any folder and order; `drawn` is what draw_curves returned.
    """
    paths = {Path(path).name: path for path in paths}
    for name in ("loss", "frc"):
        svg = drawn.get(name) or figures.no_data(_NOTHING[name], "svg")
        write_text(paths[f"{name}.svg"], figures.for_file(svg))
    sheets = {
        "patches.png": [
            (f"{p['micrograph']} y {p['y']} x {p['x']}", [(t, i, None) for t, i in p["images"]])
            for p in patches
        ],
        "examples.png": [
            (example["name"], [(title, image, row["bar"]) for title, image in row["images"]])
            for example in examples[:_SHEET_EXAMPLES]
            for row in example["rows"]
        ],
    }
    for name, rows in sheets.items():
        data = figures.sheet_png(rows) if rows else figures.no_data(_NOTHING["examples"], "png")
        with atomic_path(paths[name]) as temporary:
            temporary.write_bytes(data)


def write_tables(paths, results):
    """Write micrographs.tsv, steps.tsv, parity.tsv, frc.tsv to `paths`, in any folder and order."""
    frc = results.frc
    pairs = [key for key, value in (frc or {}).items() if isinstance(value, list)]
    contents = {
        "micrographs.tsv": (
            MICROGRAPH_COLUMNS,
            micrograph_rows(results.micrographs, results.validation),
        ),
        "steps.tsv": (STEP_COLUMNS, results.steps),
        "parity.tsv": (PARITY_COLUMNS, parity_rows(results.verdicts)),
        "frc.tsv": (pairs or ["frequency_per_px"], curve_rows(frc) if frc else ()),
    }
    for path in map(Path, paths):
        write_text(path, table_text(*contents[path.name]))
