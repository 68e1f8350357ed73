"""May two denoised halves be averaged? Where both are equally noisy.

The mean of two denoised halves has seen every electron of the micrograph. It is the better image
only while both halves count equally: a noisier half, or one on another scale, would spoil it.
"""

import math
import os
import tempfile

import numpy as np
import torch

from clearice.errors import InputError
from clearice.micrographs.halves.fit import check_headers
from clearice.micrographs.halves.pairs import judge_pair
from clearice.micrographs.pixels.survey import survey_difference

NOISE_TOLERANCE = 0.1  # relative: even and odd frames differ by at most one frame's dose
_PIECE_ROWS = 64


def half_noise(halves):
    """Return the standard deviations of the noise of two open halves, and warnings about the pair.

    The halves are rows.MicrographRows.

    With one signal and independent noise, the variance of the difference is the sum of both noise
    variances, and that of the first minus that of the second their difference. Variances are
    squares of the robust scale, so that a crystal counts for nothing. Costs a pass over both
    halves beyond their surveys. Raises InputError where there are no two such numbers (halves on
    different scales), and for halves that do not show one scene alike (pairs.judge_pair): their
    mean would be no micrograph.
    """
    first, second = (half.survey.input for half in halves)
    shape = halves[0].height_px, halves[0].width_px
    blank = halves[0].survey.blank.union(halves[1].survey.blank)
    both = [blank.filled(half.blocks(), half.survey.input.location) for half in halves]
    difference, pair = survey_difference(*both, shape, live=blank.counted_pieces(), robust=True)
    if not difference.maximum > difference.minimum:
        raise InputError(
            "the halves are the same pixels",
            file=halves[1].path,
            expected=f"noise independent of {halves[0].path}",
            advice="make halves from even and odd frames",
        )
    warnings = judge_pair(pair, [half.path for half in halves])
    excess = first.scale**2 - second.scale**2
    variances = [(difference.scale**2 + sign * excess) / 2 for sign in (1, -1)]
    if not min(variances) > 0:
        raise InputError(
            "the halves are on different scales",
            file=halves[1].path,
            expected=f"a noise level like the {first.scale:.4g} of {halves[0].path}",
            found=f"{second.scale:.4g}",
            advice="denoise one half alone",
        )
    return [math.sqrt(variance) for variance in variances], warnings


def require_equal_noise(halves, readers):
    """Return the noise (standard deviations) of two halves that may be averaged, and warnings.

    `halves` are the rows.MicrographRows of the open `readers`. Raises InputError for halves of
    different shape, pixel size, scale or noise.
    """
    warnings = check_headers(*readers)
    noise, doubts = half_noise(halves)
    if not max(noise) <= (1 + NOISE_TOLERANCE) * min(noise):
        raise InputError(
            "the halves are not equally noisy",
            file=halves[1].path,
            expected=f"noise within {NOISE_TOLERANCE:.0%} of the {noise[0]:.4g} of "
            f"{halves[0].path}",
            found=f"{noise[1]:.4g}",
            advice="denoise the less noisy half alone",
        )
    return noise, warnings + doubts


def mean_bands(bands, others, folder):
    """Yield the mean of two images from their bands of rows, float32 (b, W), as tensors.

    The first waits in a file without a name in `folder` (made if need be), so that memory holds a
    band of one of them at a time.
    """
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as first:
        for rows in bands:
            first.write(rows)
            del rows  # a band is not held while the next is made
        first.seek(0)
        for rows in others:
            for piece in np.array_split(rows, -(-len(rows) // _PIECE_ROWS)):
                kept = np.empty_like(piece)
                first.readinto(kept)
                piece += kept
                piece *= np.float32(0.5)
            yield torch.from_numpy(rows)
            del rows, piece
