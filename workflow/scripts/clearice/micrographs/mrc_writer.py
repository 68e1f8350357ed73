"""MRC files that clearice makes: written by mrcfile, streamed, the same bytes for the same image.

float32 (mode 2) or float16 (mode 12), little-endian, with true statistics. Apart from the reader,
so that an edit of the one reruns nothing that uses the other alone.
"""

import math

import mrcfile
import numpy as np

from clearice.errors import InputError
from clearice.files import atomic_path
from clearice.micrographs.normalisation import RowStatistics

PIECE_PX = 1 << 18  # pixels that are converted and summed at a time


def write_micrograph(
    path,
    blocks,
    height_px,
    width_px,
    *,
    dtype="float32",
    pixel_size_angstrom,
    origin=(0.0, 0.0, 0.0),
    label,
):
    """Write an MRC image atomically from an iterable of row blocks, float (b, W) or (W,).

    `dtype`: float32 (mode 2) or float16 (mode 12). `pixel_size_angstrom` None leaves the cell
    at zero. `label` is ASCII of at most 80 characters. Raises InputError where float16 cannot
    hold a value, ValueError where the rows are not `height_px` x `width_px`.
    """
    mode, stored = {"float32": (2, np.dtype("<f4")), "float16": (12, np.dtype("<f2"))}[dtype]
    statistics, rows_written = RowStatistics(), 0
    with atomic_path(path) as temporary:
        # mrcfile makes the header and the room; rows are written beside its map of the file,
        # whose pages would count as this process's memory.
        with mrcfile.new_mmap(temporary, (height_px, width_px), mode, overwrite=True) as empty:
            first_pixel = empty.header.nbytes
        with open(temporary, "rb+", buffering=0) as file:
            file.seek(first_pixel)
            for rows in _pieces(blocks, width_px):
                with np.errstate(over="ignore"):  # checked below
                    pixels = np.ascontiguousarray(rows, stored)
                _check_range(pixels, rows, path, dtype)
                statistics.add(pixels)
                _write_all(file, pixels)
                rows_written += len(pixels)
        if rows_written != height_px:
            raise ValueError(f"{rows_written} rows, not {height_px}")
        with mrcfile.mmap(temporary, "r+") as written:
            _describe(written, statistics.result(), pixel_size_angstrom, origin, label)


def _pieces(blocks, width_px):
    """Yield the rows of large blocks a few at a time, so that their float64 copies stay small."""
    step = max(1, PIECE_PX // width_px)
    for block in blocks:
        rows = np.atleast_2d(block)
        if rows.shape[1] != width_px:
            raise ValueError(f"rows of {rows.shape[1]} px, not {width_px}")
        for first in range(0, len(rows), step):
            yield rows[first : first + step].copy()  # a view would hold the block
        del block, rows  # a band is not held while the next is made


def _check_range(pixels, rows, path, dtype):
    if not np.isfinite(pixels).all():
        raise InputError(
            f"a pixel is not finite or does not fit {dtype}",
            file=path,
            expected=f"at most {np.finfo(dtype).max:g}",
            found=f"{np.abs(rows).max():g}",
            advice="use float32" if dtype == "float16" else None,
        )


def _write_all(file, buffer):
    view = memoryview(buffer).cast("B")
    while view:
        view = view[file.write(view) :]


def _describe(written, statistics, pixel_size_angstrom, origin, label):
    """Fill in the header of an MrcFile; its one label has no date, so that runs repeat."""
    size = pixel_size_angstrom or 0.0
    if not math.isfinite(size):
        raise ValueError(f"pixel size {size}")
    header = written.header
    written.voxel_size = size
    header.origin.x, header.origin.y, header.origin.z = origin
    header.dmin, header.dmax = statistics.minimum, statistics.maximum
    header.dmean, header.rms = statistics.mean, statistics.std
    header.label[0] = label.encode("ascii", "replace")[:80].ljust(80)
