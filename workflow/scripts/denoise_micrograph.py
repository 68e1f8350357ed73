"""Denoise one micrograph with a trained model, and measure how well that went.

By hand: python workflow/scripts/denoise_micrograph.py MICROGRAPH --model MODEL --output OUT.mrc
"""

import argparse
import contextlib
import time
from pathlib import Path

from clearice import __version__
from clearice.bridge import run_command, run_job
from clearice.denoised.metrics import compare_micrographs
from clearice.denoised.tiles import chosen_tile_px, denoise_bands
from clearice.errors import InputError
from clearice.files import write_json, xxh3_of_file
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.micrographs.rows import MicrographRows, hot_pixel_limit
from clearice.model.device import choose_device, set_precision
from clearice.model.half_resolution import at_full_resolution
from clearice.model.weights import load_model

FORMAT_VERSION = 1


def denoise_micrograph(micrograph, model, denoised, metrics, settings, target=None, truth=None):
    """Write the denoised micrograph (MRC) and its metrics (JSON; None: no metrics).

    The micrograph is the input half of a pair; `target` (the other half, as recorded) and `truth`
    (the noise-free image) only judge the result. `settings` holds dtype, tile_px, device and
    hot_pixel_threshold.
    """
    device = choose_device(settings["device"])
    set_precision("float32", deterministic=True)
    network, metadata = load_model(model, device)
    network = at_full_resolution(network, metadata)
    identity = {
        "path": str(model),
        "architecture": metadata["architecture"],
        "xxh3": xxh3_of_file(model),
    }
    started = time.perf_counter()
    facts = write_denoised(network, identity, micrograph, denoised, settings, device)
    seconds = {"denoise": round(time.perf_counter() - started, 3)}
    print(f"{denoised}: {facts['height_px']} x {facts['width_px']} px in {seconds['denoise']} s")
    if metrics is None:
        return
    started = time.perf_counter()
    paths = {"raw": micrograph, "denoised": denoised, "target": target, "truth": truth}
    paths = {role: str(path) for role, path in paths.items() if path is not None}
    comparison = compare_files(paths)
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


def write_denoised(network, model, micrograph, denoised, settings, device):
    """Stream a micrograph through the network into an MRC file; return its facts as a dict."""
    with open_micrograph(micrograph) as reader:
        limit = hot_pixel_limit(reader, settings["hot_pixel_threshold"])
        rows = MicrographRows(reader, limit)
        tile_px = chosen_tile_px(settings["tile_px"], device, network)
        write_micrograph(
            denoised,
            denoise_bands(network, rows, tile_px=tile_px, device=device),
            reader.height_px,
            reader.width_px,
            dtype=settings["dtype"],
            pixel_size_angstrom=reader.pixel_size_angstrom,
            origin=reader.origin,
            label=f"clearice {__version__}: denoised, {model['architecture']} {model['xxh3']}",
        )
        return {
            "height_px": reader.height_px,
            "width_px": reader.width_px,
            "pixel_size_angstrom": reader.pixel_size_angstrom,
            "mean": rows.survey.input.location,
            "std": rows.survey.input.scale,
            "hot_pixels": rows.hot_pixels,
        }


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


def main(arguments=None):
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Denoise one micrograph with a trained model.")
    parser.add_argument("micrograph", help="MRC file (the input half of a pair)")
    parser.add_argument("--model", required=True, help="denoiser.safetensors")
    parser.add_argument("--output", required=True, help="MRC file to write")
    parser.add_argument("--metrics", help="JSON file to write: what was gained")
    parser.add_argument("--target", help="MRC file: the other half, to judge by")
    parser.add_argument("--truth", help="MRC file: the noise-free image, to judge by")
    parser.add_argument("--dtype", choices=["float32", "float16"], default="float32")
    parser.add_argument("--tile-px", type=int, help="side of a tile; the result is the same")
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda | cuda:N")
    parser.add_argument("--hot-pixel-threshold", type=float, help="as in patches of config.yaml")
    options = parser.parse_args(arguments)
    if options.tile_px is not None and options.tile_px < 1:
        parser.error("--tile-px: at least 1")
    denoise_micrograph(
        options.micrograph,
        options.model,
        options.output,
        options.metrics,
        {
            "dtype": options.dtype,
            "tile_px": options.tile_px,
            "device": options.device,
            "hot_pixel_threshold": options.hot_pixel_threshold,
        },
        options.target,
        options.truth,
    )
    return 0


if "snakemake" in globals():
    run_job(denoise_micrograph, snakemake)
elif __name__ == "__main__":
    run_command(main)
