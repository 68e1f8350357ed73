"""MRC files that clearice makes: headers by mrcfile, streamed, the same bytes for the same image.

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
    statistics=None,
):
    """Write an MRC image atomically from an iterable of row blocks, float (b, W) or (W,).

    `dtype`: float32 (mode 2) or float16 (mode 12). `pixel_size_angstrom` None leaves the cell
    at zero. `label` is ASCII of at most 80 characters. `statistics` (RowStatistics), where whoever
    makes the blocks has them: those are (b, W) of that type then, and are written as they are.
    Raises InputError where float16 cannot hold a value, ValueError where the rows are not
    `height_px` x `width_px`.
    """
    stored, rows_written = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}[dtype], 0
    if statistics is None:
        statistics = RowStatistics(keeps_pieces=False)
        blocks = _measured(blocks, width_px, stored, statistics, path)
    with atomic_path(path) as temporary:
        header = _header(temporary, height_px, width_px, stored)
        with open(temporary, "rb+", buffering=0) as file:
            file.seek(header.nbytes)
            for pixels in blocks:
                _require_rows(pixels, width_px, stored)
                _write_all(file, memoryview(pixels).cast("B"))
                rows_written += len(pixels)
                del pixels  # a band is not held while the next is made
            if rows_written != height_px:
                raise ValueError(f"{rows_written} rows, not {height_px}")
            _describe(header, statistics.result(), pixel_size_angstrom, origin, label)
            file.seek(0)
            _write_all(file, memoryview(header.tobytes()))


def _header(path, height_px, width_px, stored):
    """Return the header (1,024 bytes) that mrcfile makes, by way of an image of one pixel.

    A map of the whole file would need no such way, but not all file systems have maps (mmap).
    """
    with mrcfile.new(path, np.zeros((1, 1), stored), overwrite=True) as smallest:
        header = smallest.header.copy()
    header.nx = header.mx = width_px
    header.ny = header.my = height_px
    return header


def _require_rows(pixels, width_px, stored):
    if pixels.shape[1] != width_px or pixels.dtype != stored:
        raise ValueError(f"{pixels.dtype} rows of {pixels.shape[1]} px, not {stored}, {width_px}")


def _measured(blocks, width_px, stored, statistics, path):
    """Yield rows of the stored type a few at a time, taken into `statistics`."""
    for rows in _pieces(blocks, width_px):
        with np.errstate(over="ignore"):  # checked below
            pixels = np.ascontiguousarray(rows, stored)
        _check_range(pixels, rows, path, stored.name)
        statistics.add(pixels)
        yield pixels


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


def _write_all(file, view):
    while view:
        view = view[file.write(view) :]


def _describe(header, statistics, pixel_size_angstrom, origin, label):
    """Fill in the header; its one label has no date, so that runs repeat."""
    size = pixel_size_angstrom or 0.0
    if not math.isfinite(size):
        raise ValueError(f"pixel size {size}")
    for axis, sampling in (("x", header.mx), ("y", header.my), ("z", header.mz)):
        header.cella[axis] = size * sampling
    header.origin.x, header.origin.y, header.origin.z = origin
    header.dmin, header.dmax = statistics.minimum, statistics.maximum
    header.dmean, header.rms = statistics.mean, statistics.std
    header.label[0] = label.encode("ascii", "replace")[:80].ljust(80)
