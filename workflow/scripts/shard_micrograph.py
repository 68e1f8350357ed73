"""Cut one micrograph, or one pair of halves, into a shard of normalised patches.

Two passes over the rows: one for the statistics and the checks, one that normalises and cuts.
Memory holds one row of patches of input and of target, whatever the micrograph's height.
"""

import argparse
import contextlib
import sys
from pathlib import Path

import numpy as np

from clearice import shards, targets
from clearice.bridge import run_command, run_job
from clearice.errors import InputError
from clearice.files import atomic_path
from clearice.halves import check_headers
from clearice.hot_pixels import HotPixels, local_std
from clearice.mrc import open_micrograph
from clearice.normalisation import normalise
from clearice.patches import PatchCutter, patch_origins
from clearice.survey import require_float16_range, survey_halves, survey_micrograph


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
    outputs = {"input": input_bin, "target": target_bin}
    sources = {"input": shards.source_entry(input), "target": shards.source_entry(target)}
    try:
        facts = cut_micrograph(input, target, outputs, micrograph, patches, dtype)
    except InputError as error:
        if on_error == "stop":
            raise
        print(f"rejected: {error}", file=sys.stderr)
        facts = {"status": "rejected", "reason": str(error), "files": empty_files(outputs)}
    shards.write_record(record, shards.new_record(micrograph, patches, dtype, **sources, **facts))


def cut_micrograph(input, target, outputs, micrograph, patches, dtype):
    """Survey the image, write the patches of both sides, and return the facts for the record."""
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(open_micrograph(p)) for p in (input, target) if p]
        first, size = readers[0], patches["size_px"]
        origins = patch_origins(
            first.height_px, first.width_px, size, patches["stride_px"], patches["cover_border"]
        )
        if not len(origins):
            raise InputError(
                "smaller than a patch",
                file=input,
                expected=f"at least {size} x {size} px",
                found=f"{first.height_px} x {first.width_px}",
                advice="use a smaller patches.size_px",
            )
        warnings = [f"{Path(r.path).name}: {text}" for r in readers for text in r.warnings]
        if target:
            warnings += check_headers(*readers)
        cleaners = [hot_pixels(reader, patches["hot_pixel_threshold"]) for reader in readers]
        survey = survey_readers(readers, cleaners)
        if dtype == "float16":
            require_float16_range(survey, [reader.path for reader in readers])
        sides = target_blocks(readers, cleaners, survey.input, micrograph, patches)
        files = write_patches(sides, outputs, origins, first.width_px, size, dtype)
        if not any(cleaners):
            hot = 0
        else:
            hot = sum(cleaner.count for cleaner in cleaners)
    return {
        "warnings": warnings + survey.warnings,
        "height_px": first.height_px,
        "width_px": first.width_px,
        "pixel_size_angstrom": first.pixel_size_angstrom,
        "n_patches": len(origins),
        "y": origins[:, 0].tolist(),
        "x": origins[:, 1].tolist(),
        "mean": survey.input.mean,
        "std": survey.input.std,
        "hot_pixels": hot,
        "noise_floor": survey.noise_floor,
        "half_correlation": survey.correlation,
        "files": files,
    }


def hot_pixels(reader, threshold):
    """Return the HotPixels of a micrograph; None where none are to be replaced."""
    if threshold is None:
        return None
    return HotPixels(threshold * local_std(reader), reader.height_px)


def rows_of(reader, cleaner):
    """Yield the rows of a micrograph in order, float32 (b, W), hot pixels replaced."""
    rows = (rows for _, rows in reader.blocks())
    return cleaner.blocks(rows) if cleaner else rows


def survey_readers(readers, cleaners):
    """Return the Survey of one micrograph or of a pair."""
    streams = list(map(rows_of, readers, cleaners))
    if len(readers) == 1:
        return survey_micrograph(streams[0], readers[0].path)
    shape = readers[0].height_px, readers[0].width_px
    return survey_halves(zip(*streams, strict=True), [r.path for r in readers], shape)


def target_blocks(readers, cleaners, affine, micrograph, patches):
    """Yield (input rows, target rows), normalised, float32 (b, W) each, over the image."""
    streams = [
        (normalise(rows, affine.mean, affine.std, out=rows) for rows in rows_of(reader, cleaner))
        for reader, cleaner in zip(readers, cleaners, strict=True)
    ]
    if patches["target"] == "halves":
        return zip(*streams, strict=True)
    if patches["target"] == "lowpass":
        sigma_px = patches["lowpass_sigma_px"]
        return targets.lowpass_blocks(streams[0], readers[0].height_px, sigma_px)
    return noisy_blocks(streams[0], micrograph, patches)


def noisy_blocks(blocks, micrograph, patches):
    """Yield (rows plus noise, rows), float32 (b, W) each."""
    first_row, noisy = 0, np.empty((0, 0), np.float32)
    for rows in blocks:
        if len(noisy) < len(rows):
            noisy = np.empty_like(rows)
        out = noisy[: len(rows)]
        std = patches["synthetic_noise_std"]
        targets.add_noise(rows, first_row, micrograph, patches["seed"], std, out)
        yield out, rows
        first_row += len(rows)


def write_patches(sides, outputs, origins, width_px, size_px, dtype):
    """Write the patches of both sides atomically; return the record's `files`."""
    stored = shards.storage_dtype(dtype)
    with contextlib.ExitStack() as stack:
        files, cutters = {}, {}
        for side, path in outputs.items():
            temporary = stack.enter_context(atomic_path(path))
            files[side] = stack.enter_context(shards.PatchFile(temporary))
            cutters[side] = PatchCutter(width_px, origins, size_px, stored, files[side].write)
        for input_rows, target_rows in sides:
            cutters["input"].add(input_rows)
            cutters["target"].add(target_rows)
    return {side: files[side].entry(path) for side, path in outputs.items()}


def empty_files(outputs):
    """Write the two empty files of a rejected shard; return the record's `files`."""
    files = {}
    for side, path in outputs.items():
        with atomic_path(path) as temporary, shards.PatchFile(temporary) as file:
            files[side] = file.entry(path)
    return files


def main():
    """Cut one micrograph by hand."""
    parser = argparse.ArgumentParser(
        description="Cut one micrograph, or one pair of halves, into a shard: PREFIX.input.bin "
        "and PREFIX.target.bin (little-endian (n, size, size), no header) and PREFIX.json.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("input", help="MRC file: the micrograph, or the half that the network sees")
    add("--target-half", metavar="FILE", help="MRC file: the other half (with --target halves)")
    add("--output", metavar="PREFIX", required=True, help="where the three files go")
    add("--micrograph", metavar="NAME", help="name in the record (default: end of PREFIX)")
    add("--patch-size-px", type=int, default=1024, help="side of a patch (px)")
    add("--stride-px", type=int, default=512, help="step from patch to patch (px)")
    add("--cover-border", action="store_true", help="patches flush with the border as well")
    add("--target", choices=targets.KINDS, default="halves", help="what the network must make")
    add("--synthetic-noise-std", type=float, default=1.0, help="in standard deviations")
    add("--lowpass-sigma-px", type=float, default=2.0, help="standard deviation of the Gaussian")
    add("--hot-pixel-threshold", type=float, help="replace pixels so many std off (default: none)")
    add("--seed", type=int, default=0, help="seed of the synthetic noise")
    add("--dtype", choices=("float32", "float16"), default="float32", help="of the patches")
    add("--on-error", choices=("stop", "skip"), default="stop", help="skip: a rejected shard")
    arguments = parser.parse_args()
    for option in ("patch_size_px", "stride_px", "synthetic_noise_std", "lowpass_sigma_px"):
        if not getattr(arguments, option) > 0:
            parser.error(f"--{option.replace('_', '-')} must be above 0")
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
    run_job(shard_micrograph, snakemake)
elif __name__ == "__main__":
    run_command(main)
