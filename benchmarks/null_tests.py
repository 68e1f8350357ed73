"""What the null tests say of denoisers whose honesty is known, at several doses.

    python benchmarks/null_tests.py [NAME=denoiser.safetensors ...]

Simulates two micrographs of the default configuration per dose. A Wiener filter is fitted to the
first; it, the general network and those of tests/known_denoisers.py are judged on the second, and
so is every model that is named. Writes benchmarks/results/null_tests.json and .md.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from measuring import environment

from clearice.config import complete_config
from clearice.denoised.tiles import chosen_tile_px, denoise_bands
from clearice.files import write_json, write_text
from clearice.micrographs.simulation.exposure import simulate
from clearice.micrographs.simulation.particles import DIAMETER_ANGSTROM
from clearice.model.device import set_precision
from clearice.model.weights import load_model
from clearice.validation.evidence import Filters, ring_sums
from clearice.validation.images import RowFile
from clearice.validation.record import measure
from known_denoisers import Constant, Convolution, Hallucinator, Identity, kernel_of
from memory_images import MemoryRows

RESULTS = Path(__file__).resolve().parent / "results"
DOSES_E_PER_A2 = (40, 10, 2)
TESTS = ("flatness", "noise response", "shuffled pairs", "calibration", "seams", "grid")


def images_of(simulated, network, halves, folder):
    """Return the images that measure() takes, denoised ones in files in `folder`."""
    images = {"raw": MemoryRows(simulated.even)}
    if halves:
        images |= {"target": MemoryRows(simulated.odd), "truth": MemoryRows(simulated.truth)}
    tile_px = chosen_tile_px(None, "cpu", network)
    for half, name in (("raw", "denoised"), ("target", "denoised_target")):
        if half in images:
            bands = denoise_bands(network, images[half], tile_px=tile_px)
            images[name] = RowFile(bands, *simulated.even.shape, folder)
    return images


def wiener_of(simulated):
    """Return the Wiener filter of a micrograph as a network, cut to 49 x 49 px."""
    images = {"raw": MemoryRows(simulated.even), "target": MemoryRows(simulated.odd)}
    filters = Filters(ring_sums({**images, "denoised": images["raw"]}), "target")
    return Convolution(kernel_of(filters.wiener, filters.frequency_per_px))


def judged(network, simulated, pixel_size_angstrom):
    """Return the row of one denoiser: SNR, gain, numbers and verdicts of the null tests."""
    particles = (simulated.centres_px, DIAMETER_ANGSTROM / pixel_size_angstrom)
    started = time.process_time()
    record = measure(network, images_of(simulated, network, True, RESULTS), particles, "cpu")
    seconds = time.process_time() - started
    alone = measure(network, images_of(simulated, network, False, RESULTS), None, "cpu")
    row = {"cpu_s": round(seconds, 2), **record["truth"]["snr_db"]}
    row["gain_over_linear_db"] = record["truth"]["gain_over_linear_db"]
    row["average_precision"] = record["picking"]["average_precision"]
    keys = ("number", "threshold", "passed")
    for name, made in (("tests", record), ("tests_without_half", alone)):
        row[name] = {t["name"]: {k: t[k] for k in keys} for t in made["null_tests"]}
    return row


def markdown(results):
    """Return the table: numbers, those that failed in bold."""
    head = ["dose (e/Å²)", "denoiser", "SNR (dB)", "best filter", *TESTS, "response without O"]
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    for dose, rows in results["doses"].items():
        for name, row in rows.items():
            filter_db = max(row["gaussian"], row["wiener"])
            cells = [dose, name, said(row["denoised"], ".1f"), said(filter_db, ".1f")]
            cells += [verdict(row["tests"][test]) for test in TESTS]
            cells.append(verdict(row["tests_without_half"]["noise response"]))
            lines.append(" | ".join(cells))
    intro = "Null tests of known denoisers; numbers, **bold** where the test failed."
    return "\n".join([intro, "", *(f"| {line} |" for line in lines), ""])


def said(value, form):
    """Format a number; a dash for none."""
    return "–" if value is None else format(value, form)


def verdict(test):
    """Format the number of a test."""
    text = said(test["number"], ".2g")
    return f"**{text}**" if test["passed"] is False else text


def main():
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="NAME=MODEL", help="models to judge as well")
    models = [text.split("=", 1) for text in ("general=general", *parser.parse_args().models)]
    set_precision("float32", deterministic=True)
    results = {"environment": environment(), "doses": {}}
    for dose in DOSES_E_PER_A2:
        settings = complete_config({"simulation": {"dose_e_per_a2": dose}})["simulation"]
        first, held_out = (simulate(settings, name) for name in ("a", "b"))
        denoisers = {"Wiener filter of another micrograph": wiener_of(first)}
        denoisers |= {name: load_model(path, "cpu")[0] for name, path in models}
        denoisers |= {"blobs pasted at 2 sigma": Hallucinator()}
        denoisers |= {"identity": Identity(), "constant": Constant()}
        pixel = settings["pixel_size_angstrom"]
        results["doses"][str(dose)] = {n: judged(d, held_out, pixel) for n, d in denoisers.items()}
    write_json(RESULTS / "null_tests.json", results)
    write_text(RESULTS / "null_tests.md", markdown(results))
    print(markdown(results))


if __name__ == "__main__":
    main()
