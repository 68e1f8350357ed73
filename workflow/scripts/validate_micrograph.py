"""Measure what denoising does to one micrograph that the network was not trained on."""

import contextlib
import time
from pathlib import Path

from clearice.bridge import run_job
from clearice.denoised.micrograph import load_denoiser
from clearice.errors import InputError
from clearice.files import write_json
from clearice.micrographs.centres import read_centres
from clearice.micrographs.halves.pairs import pair_doubts
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.rows import MicrographRows, hot_pixel_limit
from clearice.validation.images import FilledRows, denoised_file
from clearice.validation.patch_errors import patch_errors
from clearice.validation.record import measure

FORMAT_VERSION = 3


def validate_micrograph(
    micrograph,
    model,
    output,
    settings,
    target=None,
    truth=None,
    centres=None,
    name=None,
    patches=None,
):
    """Write what was measured (JSON).

    The micrograph is the input half of a pair. `target` (the other half, as recorded), `truth`
    (the noise-free image) and `centres` (a table of particles) only judge the result; what they
    are needed for is listed as not measured without them. `settings` holds tile_px, device and
    hot_pixel_threshold. `name` is the micrograph's where that is not the stem of `output`.
    `patches` is the grid of patches (size_px, stride_px, cover_border) whose losses are written,
    where the other half is what the network was trained to predict; else None. Both halves are
    denoised here into unnamed files beside `output`.
    """
    started = time.perf_counter()
    network, identity, device = load_denoiser(model, settings["device"])
    paths = {"raw": micrograph, "target": target, "truth": truth, "centres": centres}
    paths = {role: str(path) for role, path in paths.items() if path is not None}
    folder = Path(output).parent
    folder.mkdir(parents=True, exist_ok=True)
    tiling = {"tile_px": settings["tile_px"], "device": device}
    with contextlib.ExitStack() as stack:
        images = {
            role: stack.enter_context(_opened(paths[role], settings, role))
            for role in ("raw", "target", "truth")
            if role in paths
        }
        _require_one_size(images)
        for half, result in (("raw", "denoised"), ("target", "denoised_target")):
            if half in images:
                images[result] = stack.enter_context(
                    denoised_file(network, images[half], folder, **tiling)
                )
        hot_pixels = images["raw"].hot_pixels  # of the last whole pass
        images = _without_blank_areas(images)
        particles = read_centres(paths["centres"]) if "centres" in paths else None
        measured = measure(network, images, particles, device)
        doubts, losses = [], None
        if "target" in images:
            doubts = pair_doubts(images["raw"], images["target"])
            losses = patches and patch_errors(images, images["raw"].survey.input.scale, patches)
        facts = {
            "height_px": images["raw"].height_px,
            "width_px": images["raw"].width_px,
            "hot_pixels": hot_pixels,
        }
    write_json(
        output,
        {
            "format_version": FORMAT_VERSION,
            "micrograph": name or Path(output).stem,
            "files": paths,
            "model": identity,
            "device": str(device),
            **facts,
            **measured,
            "doubts": doubts,
            "patches": losses,
            "seconds": round(time.perf_counter() - started, 3),
        },
    )
    for test in measured["null_tests"]:
        print(f"{test['name']}: {test['verdict']}")
    for line in measured["not_measured"]:
        print(f"not measured: {line}")
    for line in doubts:
        print(f"gains against the other half are not counted: {line}")


@contextlib.contextmanager
def _opened(path, settings, role):
    """Yield the rows of a micrograph; hot pixels are replaced but in the truth, which has none."""
    with open_micrograph(path) as reader:
        threshold = None if role == "truth" else settings["hot_pixel_threshold"]
        yield MicrographRows(reader, hot_pixel_limit(reader, threshold))


def _without_blank_areas(images):
    """Return the images, name -> rows; blank areas of either half hold the half's level."""
    halves = {name: images[name].survey for name in ("raw", "target") if name in images}
    blank = halves["raw"].blank
    if "target" in halves:
        blank = blank.union(halves["target"].blank)
    if not blank:
        return images
    levels = {name: survey.input.location for name, survey in halves.items()}
    levels |= {f"denoised{'_target' * (name == 'target')}": v for name, v in levels.items()}
    return {
        name: FilledRows(image, blank, levels[name]) if name in levels else image
        for name, image in images.items()
    }


def _require_one_size(images):
    expected = images["raw"].height_px, images["raw"].width_px
    for role, image in images.items():
        if (image.height_px, image.width_px) != expected:
            raise InputError(
                f"the {role} has another size than the micrograph",
                file=image.path,
                expected=f"{expected[0]} x {expected[1]} px",
                found=f"{image.height_px} x {image.width_px} px",
            )


if "snakemake" in globals():
    run_job(validate_micrograph, snakemake)
