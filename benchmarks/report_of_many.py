"""The report of many micrographs: drawing them, drawing the few that changed, the page in Chromium.

Two cases: pairs with their denoised images, as of a usual run, and thousands of sparse files of a
camera's size, of which nothing was denoised. Records are those of small shards under other names.

By hand: python benchmarks/report_of_many.py   (--case pairs takes a minute)
"""

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from measuring import environment
from report_in_browser import measure_page

from clearice.files import read_json, write_json
from clearice.micrographs.mrc_writer import write_micrograph
from draw_micrographs import draw_micrographs
from report import report
from report_run import Run

RESULTS = Path(__file__).parent / "results" / "report_of_many.json"
PROCESSES = 2
# name -> micrographs, side of each (px), whether there are pixels, halves and denoised images
CASES = {"pairs": (200, 1024, True), "sparse": (10_000, 4096, False)}
DISTINCT = 4  # images; the others are links to them


def write_pairs(names, side_px):
    """Write both halves and the denoised image of each name into this folder."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side_px, :side_px]
    roles = {"EVN": 1.0, "ODD": 1.0, "denoised": 0.05}
    for number, name in enumerate(names):
        for role, share in roles.items():
            path = Path(f"{name}_{role}.mrc")
            if number >= DISTINCT:
                os.link(f"{names[number % DISTINCT]}_{role}.mrc", path)
                continue
            wave = np.sin(x / (20 + number)) * np.cos(y / 30)
            image = (wave + share * rng.normal(size=wave.shape)).astype(np.float32)
            write_micrograph(path, [image], *image.shape, pixel_size_angstrom=1.0, label=role)


def write_sparse(names, side_px):
    """Write a file of zeros that takes no room on the disk for each name into this folder."""
    rows = (np.zeros(side_px, np.float32) for _ in range(side_px))
    first = Path("header.mrc")
    write_micrograph(first, rows, side_px, side_px, pixel_size_angstrom=1.0, label="sparse")
    size = first.stat().st_size
    header = first.read_bytes()[: size - 4 * side_px**2]
    first.unlink()
    for name in names:
        with open(f"{name}_EVN.mrc", "wb") as file:
            file.write(header)
            file.truncate(size)


def make_run(names, side_px, has_pixels):
    """Return a report_run.Run in this folder, as the steps before the report leave it."""
    run = Run(Path())
    run.add_dataset(names, names[::10], height_px=side_px, width_px=side_px).add_model()
    if not has_pixels:
        for path in sorted((run.results / "shards").glob("*.json")):
            write_json(path, read_json(path) | {"target": None})
        table = run.arguments["micrographs"]
        text = table.read_text()
        table.write_text(text.replace("_ODD.mrc", "_EVN.mrc"))
        return run
    model = {"path": "m", "architecture": "simple_cnn", "xxh3": "0" * 16}
    paths = []
    for name in names:
        files = {"raw": f"{name}_EVN.mrc", "denoised": f"{name}_denoised.mrc"}
        about = {"micrograph": name, "device": "cpu", "model": model, "files": files}
        paths.append(run.results / "denoised" / f"{name}.json")
        write_json(paths[-1], about | {"seconds": {"denoise": 1.0}})
    run.arguments["denoised"] = paths
    return run


def timed(function, *arguments, **keywords):
    """Call a function; return {"s", "cpu_s"}, with the CPU time of its processes."""
    before = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    started = time.perf_counter()
    function(*arguments, **keywords)
    seconds = time.perf_counter() - started
    after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(u.ru_utime + u.ru_stime for u in after) - sum(u.ru_utime + u.ru_stime for u in before)
    return {"s": round(seconds, 2), "cpu_s": round(cpu, 2)}


def measure_case(count, side_px, has_pixels):
    """Return the figures of a case, in a folder that is removed again."""
    names = [f"position_{number:05d}" for number in range(count)]
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            (write_pairs if has_pixels else write_sparse)(names, side_px)
            run = make_run(names, side_px, has_pixels)
            pages = run.results / "report" / "micrographs"
            job = {
                "micrographs": run.arguments["micrographs"],
                "records": sorted((run.results / "shards").glob("*.json")),
                "denoised": run.arguments["denoised"],
                "order": pages / "order.js",
                "drawn": run.results / "report" / "drawn.tsv",
                "drawn_with": "the benchmark",
                "processes": PROCESSES,
            }
            figures = {"micrographs": count, "side_px": side_px, "processes": PROCESSES}
            figures["draw_all"] = timed(draw_micrographs, **job)
            figures["draw_none"] = timed(draw_micrographs, **job)
            changed = f"{names[1]}_EVN.mrc"  # a file of its own: others are links to it
            shutil.copyfile(changed, "copy")
            os.replace("copy", changed)
            figures["draw_changed"] = timed(draw_micrographs, **job)
            figures["page"] = timed(report, **run.arguments)
            figures["page_of_one_bytes"] = (pages / f"{names[0]}.html").stat().st_size
            figures["in_chromium"] = measure_page(run.arguments["page"])
        finally:
            os.chdir(here)
    return figures


def main():
    """Measure the cases, write their figures, and print them as a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--count", type=int, help="another number of micrographs, not recorded")
    given = parser.parse_args()
    found = read_json(RESULTS) if RESULTS.exists() else {}
    for case in given.case or CASES:
        count, *rest = CASES[case]
        figures = measure_case(given.count or count, *rest)
        figures |= {"environment": environment(), "load_average": os.getloadavg()[0]}
        found[case] = figures
        print(case, figures, flush=True)
    if not given.count:
        write_json(RESULTS, found)
    print(table(found))


def table(found):
    """Return the figures as Markdown."""
    lines = ["| | " + " | ".join(found) + " |", "|---|" + "---|" * len(found)]
    for words, value in (
        ("micrographs", lambda f: f"{f['micrographs']:,} of {f['side_px']} px"),
        ("draw all (s)", lambda f: f"{f['draw_all']['s']:.1f}"),
        ("CPU for each (ms)", lambda f: f"{1e3 * f['draw_all']['cpu_s'] / f['micrographs']:.0f}"),
        ("draw none of them (s)", lambda f: f"{f['draw_none']['s']:.1f}"),
        ("draw the one that changed (s)", lambda f: f"{f['draw_changed']['s']:.1f}"),
        ("write the page (s)", lambda f: f"{f['page']['s']:.1f}"),
        ("the page (MB)", lambda f: f"{f['in_chromium']['bytes'] / 1e6:.1f}"),
        ("opened in Chromium (s)", lambda f: f"{f['in_chromium']['open_s']:.2f}"),
        ("sorted (s)", lambda f: f"{f['in_chromium']['sort_s']:.3f}"),
    ):
        lines.append(f"| {words} | " + " | ".join(value(f) for f in found.values()) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
