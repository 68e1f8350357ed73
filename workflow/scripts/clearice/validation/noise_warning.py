"""A word of warning on one micrograph, without its other half: would noise have looked the same?"""

import contextlib
import math

from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.normalisation import normalise
from clearice.validation.null_tests import LARGEST_NOISE_RESPONSE, noise_response

WINDOW_PX = 768  # of the middle, at most: 0.2 CPU seconds
_FILTER_PX = 32  # a network that sees less is a filter, and a filter's response is near 1


def measured_response(network, path, location, scale, device):
    """Return null_tests.noise_response in the middle of the micrograph in `path`, or None.

    `location` and `scale` are its affine. None for a network that sees a few pixels only.
    """
    if network.receptive_radius_px < _FILTER_PX:
        return None
    with contextlib.closing(open_micrograph(path)) as reader:
        height, width = (min(WINDOW_PX, n) for n in (reader.height_px, reader.width_px))
        top, left = (reader.height_px - height) // 2, (reader.width_px - width) // 2
        rows = reader.read_rows(top, height)[:, left : left + width]
    return noise_response(network, normalise(rows, location, scale), device)


def noise_warning(path, response):
    """Return a line for a micrograph whose result is mostly what noise would give, else None."""
    if response is None or response <= LARGEST_NOISE_RESPONSE["floor"]:
        return None
    if math.isnan(response):
        return f"{path}: the network draws nothing at all in the middle of it"
    return (
        f"{path}: too little signal for this network: noise alone would give "
        f"{min(response, 1):.0%} of what the result shows; do not trust what you see in it"
    )
