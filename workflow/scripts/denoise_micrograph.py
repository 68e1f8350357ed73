"""Denoise one micrograph with a trained model.

By hand: python workflow/scripts/denoise_micrograph.py MICROGRAPH --model MODEL --output OUT.mrc
"""

import argparse
import time
from pathlib import Path

from clearice import __version__
from clearice.bridge import run_command, run_job
from clearice.denoised.tiles import chosen_tile_px, denoise_bands
from clearice.files import write_json, xxh3_of_file
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.micrographs.rows import MicrographRows, hot_pixel_limit
from clearice.model.device import choose_device, set_precision
from clearice.model.half_resolution import at_full_resolution
from clearice.model.weights import load_model

FORMAT_VERSION = 1


def denoise_micrograph(micrograph, model, denoised, record, settings):
    """Write the denoised micrograph (MRC) and the facts about it (JSON; None: no facts).

    `settings` holds dtype, tile_px, device and hot_pixel_threshold.
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
    seconds = round(time.perf_counter() - started, 3)
    print(f"{denoised}: {facts['height_px']} x {facts['width_px']} px in {seconds} s")
    if record is not None:
        write_json(
            record,
            {
                "format_version": FORMAT_VERSION,
                "micrograph": Path(record).stem,
                "files": {"raw": str(micrograph), "denoised": str(denoised)},
                "model": identity,
                "device": str(device),
                **facts,
                "seconds": {"denoise": seconds},
            },
        )


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


def main(arguments=None):
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Denoise one micrograph with a trained model.")
    parser.add_argument("micrograph", help="MRC file")
    parser.add_argument("--model", required=True, help="denoiser.safetensors")
    parser.add_argument("--output", required=True, help="MRC file to write")
    parser.add_argument("--record", help="JSON file to write: facts about the result")
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
        options.record,
        {
            "dtype": options.dtype,
            "tile_px": options.tile_px,
            "device": options.device,
            "hot_pixel_threshold": options.hot_pixel_threshold,
        },
    )
    return 0


if "snakemake" in globals():
    run_job(denoise_micrograph, snakemake)
elif __name__ == "__main__":
    run_command(main)
