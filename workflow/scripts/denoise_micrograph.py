"""Denoise one micrograph with a trained model."""

import time
from pathlib import Path

from clearice.bridge import run_job
from clearice.denoised.micrograph import load_denoiser, write_denoised
from clearice.files import write_json

FORMAT_VERSION = 1


def denoise_micrograph(
    micrograph,
    model,
    denoised,
    record,
    settings,
    target=None,
    pixel_size_angstrom=None,
    name=None,
    **_only_for_the_workflow,
):
    """Write the denoised micrograph (MRC) and the facts about it (JSON).

    The micrograph is the input half of a pair, and `target` the other half; `settings` holds dtype,
    tile_px, device, hot_pixel_threshold and average_halves (see write_denoised);
    `pixel_size_angstrom` is a table's; `name` is the micrograph's where that is not the stem of
    `record`.
    """
    network, identity, device = load_denoiser(model, settings["device"])
    halves = [micrograph] if target is None else [micrograph, target]
    started = time.perf_counter()
    facts = write_denoised(
        network, identity, halves, denoised, settings, device, pixel_size_angstrom
    )
    seconds = round(time.perf_counter() - started, 3)
    print(f"{denoised}: {facts['height_px']} x {facts['width_px']} px in {seconds} s")
    files = {"raw": micrograph, "target": target, "denoised": denoised}
    write_json(
        record,
        {
            "format_version": FORMAT_VERSION,
            "micrograph": name or Path(record).stem,
            "files": {role: str(path) for role, path in files.items() if path is not None},
            "model": identity,
            "device": str(device),
            **facts,
            "seconds": {"denoise": seconds},
        },
    )


if "snakemake" in globals():
    run_job(denoise_micrograph, snakemake)
