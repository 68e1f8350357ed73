"""clearice shard: cut one micrograph, or one pair of halves, by hand."""

import argparse
import math
from pathlib import Path

from clearice.command.hot_pixel_option import add_hot_pixel_option
from clearice.shards.record import LAYOUTS, PATCHES, PLANES
from clearice.shards.sharding import shard_micrograph
from clearice.shards.targets import TARGETS

_KEYWORDS = {name: f"{name}_bin" for name in PATCHES} | {name: name for name in PLANES}


def main(arguments=None):
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="clearice shard",
        description="Cut one micrograph, or one pair of halves, into a shard: PREFIX.input.bin "
        "and PREFIX.target.bin (little-endian (n, size, size), no header), or PREFIX.input.plane "
        "and PREFIX.target.plane (height, width), and PREFIX.json.",
    )
    add = parser.add_argument
    add("input", help="MRC file: the micrograph, or the half that the network sees")
    add("--target-half", metavar="FILE", help="MRC file: the other half (with --target halves)")
    add("--output", metavar="PREFIX", required=True, help="where the files go")
    add("--micrograph", metavar="NAME", help="name in the record (default: end of PREFIX)")
    for name, default, about in (
        ("--patch-size-px", 1024, "side of a patch (px)"),
        ("--stride-px", 512, "step from patch to patch (px)"),
        ("--synthetic-noise-std", 1.0, "noise to add, in standard deviations"),
        ("--lowpass-sigma-px", 2.0, "standard deviation of the Gaussian (px)"),
        ("--seed", 0, "seed of the synthetic noise"),
    ):
        add(name, type=type(default), default=default, help=f"{about} (default: {default})")
    add("--cover-border", action="store_true", help="patches flush with the border as well")
    add(
        "--target",
        choices=TARGETS,
        default="halves",
        help="what the network must make (default: halves)",
    )
    add_hot_pixel_option(parser)
    add(
        "--dtype",
        choices=("float32", "float16"),
        default="float32",
        help="of the patches (default: float32)",
    )
    add(
        "--layout",
        choices=LAYOUTS,
        default="patches",
        help="what is stored: patches, whole planes to cut them from, or both (default: patches)",
    )
    add(
        "--on-error",
        choices=("stop", "skip"),
        default="stop",
        help="with a bad micrograph; skip leaves a rejected shard (default: stop)",
    )
    options = parser.parse_args(arguments)
    for option in ("patch_size_px", "stride_px", "synthetic_noise_std", "lowpass_sigma_px"):
        if not 0 < getattr(options, option) < math.inf:
            parser.error(f"--{option.replace('_', '-')} must be above 0, and finite")
    if (options.target == "halves") != (options.target_half is not None):
        parser.error("--target halves needs --target-half FILE, and no other target takes one")
    if options.output.endswith("/") or Path(options.output).is_dir():
        parser.error(f"--output {options.output} is a folder: add a name for the files")
    patches = {
        "size_px": options.patch_size_px,
        "stride_px": options.stride_px,
        "cover_border": options.cover_border,
        "target": options.target,
        "synthetic_noise_std": options.synthetic_noise_std,
        "lowpass_sigma_px": options.lowpass_sigma_px,
        "hot_pixel_threshold": options.hot_pixel_threshold,
        "seed": options.seed,
    }
    prefix = options.output
    shard_micrograph(
        input=options.input,
        target=options.target_half,
        **{_KEYWORDS[name]: f"{prefix}.{end}" for name, end in LAYOUTS[options.layout].items()},
        record=f"{prefix}.json",
        micrograph=options.micrograph or Path(prefix).name,
        patches=patches,
        dtype=options.dtype,
        on_error=options.on_error,
    )
    return 0
