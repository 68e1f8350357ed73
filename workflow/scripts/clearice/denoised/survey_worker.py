"""The far end of a Surveyor: it reads a micrograph, and leaves its rows in the shared memory."""

import mmap

import numpy as np

from clearice.child_process import serve
from clearice.errors import InputError
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.rows import MicrographRows, hot_pixel_limit

_maps = {}  # of descriptors


def work(item):
    """Return (Survey, hot pixels, numbers of the checks) of (path, threshold, shape, descriptor).

    Or the error that the user can mend: an InputError of a micrograph that cannot be used.
    """
    path, threshold, shape, descriptor = item
    try:
        with open_micrograph(path, hashed=False) as micrograph:
            if (micrograph.height_px, micrograph.width_px) != shape:
                raise InputError("it has changed meanwhile", file=path, advice="run it again")
            limit = hot_pixel_limit(micrograph, threshold)
            rows = MicrographRows(micrograph, limit, lambda shape: _shared(descriptor, shape))
            return rows.survey, rows.hot_pixels, rows.numbers
    except (InputError, OSError, MemoryError) as error:
        return error


def _shared(descriptor, shape):
    """Return the memory as an array (H, W); whoever shares it has made it large enough."""
    pixels = shape[0] * shape[1]
    if len(_maps.get(descriptor, "")) < 4 * pixels:
        _maps[descriptor] = mmap.mmap(descriptor, 4 * pixels)
    return np.frombuffer(_maps[descriptor], np.float32, pixels).reshape(shape)


if __name__ == "__main__":
    serve(work)
