"""Would float16 keep what a denoised micrograph shows?

It has 11 bits: between 32,768 and 65,504 it steps by 32, and there is nothing beyond. Counts on a
large offset keep a handful of values; counts around 40, or around 0, lose nothing.
"""

import os

import numpy as np

from clearice.errors import InputError
from clearice.micrographs.checks import FLOAT16_RANGE, FLOAT16_STEP
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.normalisation import RowStatistics

_SAMPLED_ROWS = 64


def require_float16(path, location, scale, minimum, maximum, advice):
    """Raise InputError unless float16 holds an image like this one.

    `location` and `scale` are its affine (normalisation.Statistics), `minimum` and `maximum` its
    extremes; `advice` is what to do.
    """
    furthest = max(-minimum, maximum)
    if not furthest <= FLOAT16_RANGE.threshold:
        raise InputError(
            FLOAT16_RANGE.message,
            file=path,
            expected=f"pixels of at most {FLOAT16_RANGE.threshold:,.0f}",
            found=f"{furthest:,.6g}",
            advice=advice,
        )
    value = abs(location) + scale
    step = float(np.spacing(np.float16(min(value, FLOAT16_RANGE.threshold))))
    if not step <= FLOAT16_STEP.threshold * scale:
        raise InputError(
            FLOAT16_STEP.message,
            file=path,
            expected=f"steps of at most {FLOAT16_STEP.threshold:g} noise levels",
            found=f"steps of {step:g} around {location:,.6g}, where the noise is {scale:.3g}",
            advice=advice,
        )


def require_float16_of_a_sample(path, advice):
    """Do the same from a few rows in the middle of the micrograph at `path`, if it can be read."""
    if not os.path.isfile(path):
        return
    try:
        with open_micrograph(path) as micrograph:
            count = min(_SAMPLED_ROWS, micrograph.height_px)
            rows = micrograph.read_rows((micrograph.height_px - count) // 2, count)
    except InputError:
        return  # its shard tells
    if not np.isfinite(rows).all():
        return
    statistics = RowStatistics()
    statistics.add(rows)
    found = statistics.result()
    if found.scale > 0:
        extremes = found.minimum, found.maximum
        require_float16(path, found.location, found.scale, *extremes, advice)
