"""Cut one micrograph, or one pair of halves, into a shard of normalised patches.

Two passes over the rows: one for the statistics and the checks, one that normalises and cuts.
Memory holds one row of patches of input and of target, whatever the micrograph's height.
"""

import argparse
import functools
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clearice.bridge import run_command, run_job
from clearice.errors import InputError
from clearice.shards.binary import write_patches
from clearice.shards.record import file_states, new_record, source_entry, write_record
from clearice.shards.sides import images_of, side_rows, survey_sides
from clearice.shards.targets import TARGETS

WORKERS = 2  # one per side: NumPy, hashing and writing release the interpreter lock


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
    allowed = {"halves": [True], "auto": [True, False]}.get(patches["target"], [False])
    if (target is not None) not in allowed:
        raise InputError(
            "a target half belongs to patches.target halves",
            file=input,
            expected="a target half" if target is None else "no target half",
            advice="set micrographs.halves, or another patches.target",
        )
    paths = [input] if target is None else [input, target]
    images, kind = images_of(paths, patches["target"])
    before = file_states(paths)
    with ThreadPoolExecutor(WORKERS) as pool:
        sources = dict(zip(("input", "target"), pool.map(source_entry, paths), strict=False))
        try:
            facts, limits = survey_sides(pool, images, patches, dtype)
        except InputError as error:
            if on_error == "stop":
                raise
            print(f"rejected: {error}", file=sys.stderr)
            facts, limits = {"status": "rejected", "reason": str(error)}, []
        new = new_record(micrograph, patches, kind, dtype, **sources, **facts)
        Path(record).unlink(missing_ok=True)  # it comes last: until then there is no shard
        rows = side_rows(images, limits, new, patches)
        writes = pool.map(write_patches, (input_bin, target_bin), rows, (new, new))
        new["files"] = dict(zip(("input", "target"), writes, strict=True))
    if file_states(paths) != before:
        raise InputError(
            "changed while it was read",
            file=" or ".join(paths),
            advice="run again when nothing writes to it any more",
        )
    write_record(record, new)


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
        choices=TARGETS,
        default="halves",
        help="what the network must make (default: halves)",
    )
    add(
        "--hot-pixel-threshold",
        type=float,
        help="replace pixels that many standard deviations off, at least 3 (default: none)",
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
