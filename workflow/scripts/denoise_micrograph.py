"""Denoise one micrograph with a trained model, and measure how well that went."""

import contextlib
import tempfile
import time
from pathlib import Path

from clearice.bridge import run_job
from clearice.denoised.metrics import compare_micrographs
from clearice.denoised.micrograph import load_denoiser, write_denoised
from clearice.errors import InputError
from clearice.files import write_json
from clearice.micrographs.mrc import open_micrograph

FORMAT_VERSION = 1


def denoise_micrograph(micrograph, model, denoised, metrics, settings, target=None, truth=None):
    """Write the denoised micrograph (MRC) and its metrics (JSON).

    The micrograph is the input half of a pair, and `target` the other half; `settings` holds dtype,
    tile_px, device, hot_pixel_threshold and average_halves (see write_denoised). What is measured
    is the denoised input half alone: `target` (as recorded) and `truth` (the noise-free image)
    judge it, and an average has seen the target's noise.
    """
    network, identity, device = load_denoiser(model, settings["device"])
    halves = [micrograph] if target is None else [micrograph, target]
    started = time.perf_counter()
    facts = write_denoised(network, identity, halves, denoised, settings, device)
    seconds = {"denoise": round(time.perf_counter() - started, 3)}
    print(f"{denoised}: {facts['height_px']} x {facts['width_px']} px in {seconds['denoise']} s")
    started = time.perf_counter()
    paths = {"raw": micrograph, "denoised": denoised, "target": target, "truth": truth}
    paths = {role: str(path) for role, path in paths.items() if path is not None}
    with tempfile.TemporaryDirectory(dir=Path(denoised).parent) as folder:
        alone = denoised
        if facts["averaged_halves"]:
            alone = Path(folder, "alone.mrc")
            choice = settings | {"average_halves": False}
            write_denoised(network, identity, [micrograph], alone, choice, device)
        comparison = compare_files(paths | {"denoised": str(alone)})
    seconds["metrics"] = round(time.perf_counter() - started, 3)
    write_json(
        metrics,
        {
            "format_version": FORMAT_VERSION,
            "micrograph": Path(metrics).stem,
            "files": paths,
            "model": identity,
            "device": str(device),
            **facts,
            "seconds": seconds,
            **comparison,
        },
    )
    for pair, values in comparison["pairs"].items():
        print(f"{pair}: mse {values['mse']:.6g}, correlation {values['correlation']}")


def compare_files(paths):
    """Open the files by role and compare them; InputError where their sizes differ."""
    with contextlib.ExitStack() as stack:
        readers = {role: stack.enter_context(open_micrograph(p)) for role, p in paths.items()}
        expected = readers["raw"].height_px, readers["raw"].width_px
        for role, reader in readers.items():
            if (reader.height_px, reader.width_px) != expected:
                raise InputError(
                    f"the {role} has another size than the micrograph",
                    file=reader.path,
                    expected=f"{expected[0]} x {expected[1]} px",
                    found=f"{reader.height_px} x {reader.width_px} px",
                )
        return compare_micrographs(readers)


if "snakemake" in globals():
    run_job(denoise_micrograph, snakemake)
