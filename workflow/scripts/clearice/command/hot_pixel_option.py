"""The option that says which hot pixels are replaced."""

import argparse
import math

from clearice.micrographs.rows import AUTO


def add_hot_pixel_option(parser):
    """Add --hot-pixel-threshold: `auto` (the default), None for none, or a float."""
    parser.add_argument(
        "--hot-pixel-threshold",
        type=_threshold,
        default=AUTO,
        metavar="SIGMAS",
        help="replace pixels that many standard deviations off, at least 3; auto: those that are "
        "clearly hot, NaN or infinite; none (default: auto)",
    )


def _threshold(text):
    if text in (AUTO, "none"):
        return None if text == "none" else AUTO
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 3 <= value < math.inf:
        raise argparse.ArgumentTypeError("must be 3 or more, and finite, or auto, or none")
    return value
