"""Write the report: one HTML page that needs no network, its figures and tables beside it.

By hand: python workflow/scripts/report.py --summary results   prints the headline figures.
"""

import argparse
import sys
from datetime import datetime
from pathlib import Path

from clearice.bridge import run_command, run_job
from clearice.errors import InputError
from clearice.files import atomic_path, read_json, write_json, write_text
from clearice.report import figures
from clearice.report import page as page_parts
from clearice.report.costs import busy_seconds, read_jobs, step_table
from clearice.report.examples import embedded, micrograph_examples, patch_examples
from clearice.report.facts import (
    DenoisedRecords,
    example_names,
    read_history,
    read_micrographs,
    versions,
)
from clearice.report.headlines import headlines, summary_text, verdict_line

TEMPLATE = Path(__file__).resolve().parents[1] / "report" / "page.html"
PATCHES_SHOWN = 4
SHEET_EXAMPLES = 6  # in examples.png, whose memory grows with them; the page shows all
STATES = ("failed", "not run", "passed")  # of a verdict, in the order of the page


def report(
    micrographs,
    manifest,
    histories,
    trainings,
    verdicts,
    denoised,
    page,
    summary,
    pictures,
    tables,
    config,
    title,
    examples,
    **_only_for_the_workflow,
):
    """Write the page, its summary, and the `pictures` and `tables` beside it.

    Inputs are the files that the steps left; lists of them may be empty. `pictures` are loss.svg,
    frc.svg, patches.png, examples.png and `tables` micrographs.tsv, steps.tsv, parity.tsv,
    frc.tsv, in any folder and order; `examples` is how many micrographs to show.
    """
    rows = read_micrographs(micrographs)
    splits = {row["micrograph"]: row["split"] for row in rows}
    records = DenoisedRecords(denoised, splits) if denoised else None
    trained = {read_json(path)["architecture"]: read_json(path) for path in trainings}
    curves = dict(zip(trained, map(read_history, histories), strict=True))
    judged = sorted(map(read_json, verdicts), key=lambda v: STATES.index(v["verdict"]))
    names = {*splits, *trained, *(verdict["implementation"] for verdict in judged)}
    jobs = read_jobs(Path(page).parents[1], names)
    busy_s = busy_seconds(jobs) if jobs else None
    facts = headlines(rows, read_json(manifest), curves, judged, records, step_table(jobs), busy_s)
    shown = example_names(rows, records.by_name if records else (), examples)
    shown = list(micrograph_examples(shown, records, splits)) if records else []
    patches = patch_examples(manifest, PATCHES_SHOWN)
    frc = records.curves() if records else None
    drawn = draw_curves(curves, frc, common_pixel_size(rows))
    write_pictures({Path(p).name: p for p in pictures}, drawn, patches, shown)
    table = page_parts.micrograph_rows(rows, records)
    write_tables({Path(p).name: p for p in tables}, table, step_table(jobs), judged, frc)
    parts = {
        "title": title,
        "made": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "verdict": dict(zip(("state", "text"), verdict_line(facts["parity"]), strict=True)),
        "facts": facts,
        "tiles": page_parts.headline_tiles(facts),
        "micrographs": table,
        "patches": [{**patch, "pictures": embedded(patch)} for patch in patches],
        "trainings": trained,
        "histories": curves,
        "figures": {
            name: figures.for_page(svg, FIGURE_LABELS[name], name)
            for name, svg in drawn.items()
            if name in FIGURE_LABELS
        },
        "frc": frc,
        "examples": [
            {**e, "rows": [{**row, "pictures": embedded(row)} for row in e["rows"]]} for e in shown
        ],
        "verdicts": [{**v, "by_rung": page_parts.rung_rows(v)} for v in judged],
        "steps": step_table(jobs),
        "versions": versions(),
        "config": config,
        "config_text": page_parts.config_text(config),
    }
    write_text(page, page_parts.render_page(TEMPLATE, parts))
    write_json(summary, facts)
    print(summary_text(facts, page))


FIGURE_LABELS = {
    "loss": "Training and test loss against the epoch, with the noise floor.",
    "frc_target": "Fourier ring correlation of raw and denoised with the raw other half.",
    "frc_truth": "Fourier ring correlation of raw and denoised with the truth.",
}


def common_pixel_size(rows):
    """Return the pixel size (angstrom) that all used micrographs share, or None."""
    sizes = {row["pixel_size_angstrom"] for row in rows if not row["rejected"]}
    return sizes.pop() if len(sizes) == 1 else None


def draw_curves(curves, frc, pixel_size_angstrom):
    """Return the SVG of each figure that there is something to draw for, the page's own too."""
    drawn = {}
    if any(curves.values()):
        drawn["loss"] = figures.loss_svg({name: rows for name, rows in curves.items() if rows})
    if frc:
        drawn["frc"] = figures.frc_svg(frc, pixel_size_angstrom)
        for judge in ("target", "truth"):
            if f"raw_{judge}" in frc:
                drawn[f"frc_{judge}"] = figures.frc_svg(frc, pixel_size_angstrom, [judge])
    return drawn


def write_pictures(paths, drawn, patches, shown):
    """Write the figures as files of their own; one with nothing to show says so."""
    reasons = {
        "loss": "Nothing was trained.",
        "frc": "No denoised micrograph has another half\nor a truth to be judged by.",
        "examples": "No micrograph was denoised.",
    }
    for name in ("loss", "frc"):
        svg = drawn.get(name) or figures.no_data(reasons[name], "svg")
        write_text(paths[f"{name}.svg"], figures.for_file(svg))
    sheets = {
        "patches.png": [
            (f"{p['micrograph']} y {p['y']} x {p['x']}", [(t, i, None) for t, i in p["images"]])
            for p in patches
        ],
        "examples.png": [
            (example["name"], [(title, image, row["bar"]) for title, image in row["images"]])
            for example in shown[:SHEET_EXAMPLES]
            for row in example["rows"]
        ],
    }
    for name, rows in sheets.items():
        data = figures.sheet_png(rows) if rows else figures.no_data(reasons["examples"], "png")
        with atomic_path(paths[name]) as temporary:
            temporary.write_bytes(data)


def write_tables(paths, micrographs, steps, verdicts, frc):
    """Write the tables of the page as tab-separated text."""
    pairs = [key for key, value in (frc or {}).items() if isinstance(value, list)]
    contents = {
        "micrographs.tsv": (page_parts.MICROGRAPH_COLUMNS, micrographs),
        "steps.tsv": (page_parts.STEP_COLUMNS, steps),
        "parity.tsv": (page_parts.PARITY_COLUMNS, page_parts.parity_rows(verdicts)),
        "frc.tsv": (pairs or ["frequency_per_px"], page_parts.curve_rows(frc) if frc else ()),
    }
    for name, (columns, rows) in contents.items():
        write_text(paths[name], page_parts.table_text(columns, rows))


def main(arguments=None):
    """Print the headline figures of a finished report; return the exit status."""
    parser = argparse.ArgumentParser(description="Print the headline figures of a report.")
    parser.add_argument("--summary", required=True, metavar="RESULTS", help="folder of the results")
    folder = Path(parser.parse_args(arguments).summary) / "report"
    if not (folder / "summary.json").is_file():
        raise InputError(
            "no report yet", file=folder / "summary.json", advice="run snakemake report"
        )
    print(summary_text(read_json(folder / "summary.json"), folder / "index.html"))
    return 0


if "snakemake" in globals():
    run_job(report, snakemake)
elif __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")
    run_command(main)
