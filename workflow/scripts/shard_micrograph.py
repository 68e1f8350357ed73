"""Cut one micrograph, or one pair of halves, into a shard of normalised patches.

Two passes over the rows: one for the statistics and the checks, one that normalises and cuts.
Memory holds one row of patches of input and of target, whatever the micrograph's height.
"""

import argparse
import contextlib
import functools
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clearice.bridge import run_command, run_job
from clearice.errors import InputError
from clearice.micrographs.halves import check_headers
from clearice.micrographs.hot_pixels import HotPixels, local_std
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.normalisation import normalise
from clearice.micrographs.survey import survey_difference, survey_micrograph, survey_warnings
from clearice.shards import targets
from clearice.shards.patches import patch_origins
from clearice.shards.record import (
    file_states,
    new_record,
    source_entry,
    write_patches,
    write_record,
)

WORKERS = 2  # one a side: NumPy, hashing and writing release the interpreter lock


def shard_micrograph(
    input,
    input_bin,
    target_bin,
    record,
    micrograph,
    patches,
    dtype="float32",
    on_error="skip",
    target=None,
    **_only_for_the_workflow,
):
    """Write the shard of `micrograph`: two files of patches (n, size, size) and their record.

    `patches` holds the keys of that section of config.yaml. A bad micrograph leaves a record
    with status rejected and two empty files, or raises InputError with `on_error` stop.
    """
    if (patches["target"] == "halves") != (target is not None):
        raise InputError(
            "a target half belongs to patches.target halves",
            file=input,
            expected="a target half" if target is None else "no target half",
            advice="set micrographs.halves, or another patches.target",
        )
    paths = [input] if target is None else [input, target]
    before = file_states(paths)
    with ThreadPoolExecutor(WORKERS) as pool:
        sources = dict(zip(("input", "target"), pool.map(source_entry, paths), strict=False))
        try:
            facts, limits = survey_sides(pool, paths, patches, dtype)
        except InputError as error:
            if on_error == "stop":
                raise
            print(f"rejected: {error}", file=sys.stderr)
            facts, limits = {"status": "rejected", "reason": str(error)}, []
        new = new_record(micrograph, patches, dtype, **sources, **facts)
        Path(record).unlink(missing_ok=True)  # it comes last: until then there is no shard
        rows = side_rows(paths, limits, new, patches)
        writes = pool.map(write_patches, (input_bin, target_bin), rows, (new, new))
        new["files"] = dict(zip(("input", "target"), writes, strict=True))
    if file_states(paths) != before:
        raise InputError(
            "changed while it was read",
            file=" or ".join(paths),
            advice="run again when nothing writes to it any more",
        )
    write_record(record, new)


def survey_sides(pool, paths, patches, dtype):
    """Survey the image or the pair; return facts for the record, and each side's hot-pixel limit.

    Raises InputError if the micrograph cannot be used.
    """
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(open_micrograph(path)) for path in paths]
        facts = header_facts(readers, patches)
        threshold = patches["hot_pixel_threshold"]
        limits = [threshold and threshold * local_std(reader) for reader in readers]
    shape = facts["height_px"], facts["width_px"]
    difference = None
    if len(paths) == 2:
        both = [image_rows(path, limit) for path, limit in zip(paths, limits, strict=True)]
        difference = pool.submit(survey_difference, *both, shape)
    surveys = list(pool.map(survey_image, paths, limits))
    survey = surveys[0][0]
    if difference:
        survey.target = surveys[1][0].input
        survey.difference, survey.correlation = difference.result()
    facts["warnings"] += survey_warnings(survey, paths, dtype)
    # only now that the file is known to be whole: a header alone could promise billions
    grid = patches["size_px"], patches["stride_px"], patches["cover_border"]
    origins = patch_origins(*shape, *grid)
    facts["n_patches"] = len(origins)
    facts["y"], facts["x"] = origins.T.tolist()
    facts["hot_pixels"] = sum(count for _, count in surveys)
    facts["mean"], facts["std"] = survey.input.mean, survey.input.std
    facts["noise_floor"], facts["half_correlation"] = survey.noise_floor, survey.correlation
    return facts, limits


def header_facts(readers, patches):
    """Return what the headers say for the record; raise InputError if they don't fit."""
    first, size_px = readers[0], patches["size_px"]
    warnings = [f"{Path(r.path).name}: {text}" for r in readers for text in r.warnings]
    if len(readers) == 2:
        warnings += check_headers(*readers)
    shape = first.height_px, first.width_px
    if min(shape) < size_px:
        raise InputError(
            "smaller than a patch",
            file=first.path,
            expected=f"at least {size_px} x {size_px} px",
            found=f"{shape[0]} x {shape[1]}",
            advice="use a smaller patches.size_px",
        )
    return {
        "warnings": warnings,
        "height_px": shape[0],
        "width_px": shape[1],
        "pixel_size_angstrom": first.pixel_size_angstrom,
    }


def image_rows(path, limit, cleaners=None):
    """Yield the rows of a micrograph in order, float32 (b, W), hot pixels replaced.

    `limit` is that of HotPixels, None to replace none; its HotPixels is appended to `cleaners`.
    """
    with open_micrograph(path) as reader:
        rows = (rows for _, rows in reader.blocks())
        if limit is not None:
            cleaner = HotPixels(limit, reader.height_px)
            if cleaners is not None:
                cleaners.append(cleaner)
            rows = cleaner.blocks(rows)
        yield from rows


def survey_image(path, limit):
    """Return the Survey of one image and the number of its hot pixels."""
    cleaners = []
    survey = survey_micrograph(image_rows(path, limit, cleaners), path)
    return survey, sum(cleaner.count for cleaner in cleaners)


def side_rows(paths, limits, record, patches):
    """Return the rows of input and of target: normalised, float32 (b, W) a block, in order.

    Each side reads its own file, so that the two can be written side by side. Both are empty
    for a rejected micrograph.
    """
    if record["status"] == "rejected":
        return (), ()
    input_rows, target_rows = (
        (normalise(rows, record["mean"], record["std"], out=rows) for rows in image_rows(*side))
        for side in (list(zip(paths, limits, strict=True)) * 2)[:2]
    )
    if patches["target"] == "lowpass":
        sigma_px = patches["lowpass_sigma_px"]
        target_rows = targets.lowpass_blocks(target_rows, record["height_px"], sigma_px)
    elif patches["target"] == "synthetic_noise":
        seed, std = patches["seed"], patches["synthetic_noise_std"]
        input_rows = targets.noisy_blocks(input_rows, record["micrograph"], seed, std)
    return input_rows, target_rows


def main():
    """Cut one micrograph by hand."""
    parser = argparse.ArgumentParser(
        description="Cut one micrograph, or one pair of halves, into a shard: PREFIX.input.bin "
        "and PREFIX.target.bin (little-endian (n, size, size), no header) and PREFIX.json."
    )
    add = parser.add_argument
    add("input", help="MRC file: the micrograph, or the half that the network sees")
    add("--target-half", metavar="FILE", help="MRC file: the other half (with --target halves)")
    add("--output", metavar="PREFIX", required=True, help="where the three files go")
    add("--micrograph", metavar="NAME", help="name in the record (default: end of PREFIX)")
    for option, default, about in (
        ("--patch-size-px", 1024, "side of a patch (px)"),
        ("--stride-px", 512, "step from patch to patch (px)"),
        ("--synthetic-noise-std", 1.0, "noise to add, in standard deviations"),
        ("--lowpass-sigma-px", 2.0, "standard deviation of the Gaussian (px)"),
        ("--seed", 0, "seed of the synthetic noise"),
    ):
        add(option, type=type(default), default=default, help=f"{about} (default: {default})")
    add("--cover-border", action="store_true", help="patches flush with the border as well")
    add(
        "--target",
        choices=targets.KINDS,
        default="halves",
        help="what the network must make (default: halves)",
    )
    add(
        "--hot-pixel-threshold",
        type=float,
        help="replace pixels so many standard deviations off, at least 3 (default: replace none)",
    )
    add(
        "--dtype",
        choices=("float32", "float16"),
        default="float32",
        help="of the patches (default: float32)",
    )
    add(
        "--on-error",
        choices=("stop", "skip"),
        default="stop",
        help="with a bad micrograph; skip leaves a rejected shard (default: stop)",
    )
    arguments = parser.parse_args()
    for option in ("patch_size_px", "stride_px", "synthetic_noise_std", "lowpass_sigma_px"):
        if not 0 < getattr(arguments, option) < math.inf:
            parser.error(f"--{option.replace('_', '-')} must be above 0, and finite")
    threshold = arguments.hot_pixel_threshold
    if threshold is not None and not 3 <= threshold < math.inf:
        parser.error("--hot-pixel-threshold must be 3 or more, and finite")
    if (arguments.target == "halves") != (arguments.target_half is not None):
        parser.error("--target halves needs --target-half FILE, and no other target takes one")
    if arguments.output.endswith("/") or Path(arguments.output).is_dir():
        parser.error(f"--output {arguments.output} is a folder: add a name for the three files")
    patches = {
        "size_px": arguments.patch_size_px,
        "stride_px": arguments.stride_px,
        "cover_border": arguments.cover_border,
        "target": arguments.target,
        "synthetic_noise_std": arguments.synthetic_noise_std,
        "lowpass_sigma_px": arguments.lowpass_sigma_px,
        "hot_pixel_threshold": arguments.hot_pixel_threshold,
        "seed": arguments.seed,
    }
    prefix = arguments.output
    shard_micrograph(
        input=arguments.input,
        target=arguments.target_half,
        input_bin=f"{prefix}.input.bin",
        target_bin=f"{prefix}.target.bin",
        record=f"{prefix}.json",
        micrograph=arguments.micrograph or Path(prefix).name,
        patches=patches,
        dtype=arguments.dtype,
        on_error=arguments.on_error,
    )


if "snakemake" in globals():
    # Not a param: to stop or skip changes no shard that is there.
    on_error = snakemake.config["micrographs"]["on_error"]
    run_job(functools.partial(shard_micrograph, on_error=on_error), snakemake)
elif __name__ == "__main__":
    run_command(main)
