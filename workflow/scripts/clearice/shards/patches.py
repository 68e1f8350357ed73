"""Square patches of a micrograph: where they lie, and a cutter that sees the rows once."""

import numpy as np

ALIGNMENT_BYTES = 4096  # of what is handed to `write`: a page, and a block of any disk
WRITE_BYTES = 1 << 22  # patches smaller than this are written together


def patch_origins(height_px, width_px, size_px, stride_px, cover_border=False):
    """Return the (y, x) of every patch as int64 (n, 2), in raster order.

    Origins are multiples of `stride_px`; patches lie inside the image. With `cover_border` a
    last row and column of patches flush with the border is added where a remainder is left.
    An image smaller than a patch has none.
    """
    ys = _origins(height_px, size_px, stride_px, cover_border)
    xs = _origins(width_px, size_px, stride_px, cover_border)
    return np.stack(np.meshgrid(ys, xs, indexing="ij"), axis=-1).reshape(-1, 2)


def count_patches(height_px, width_px, size_px, stride_px, cover_border=False):
    """Return how many patches patch_origins gives, without making them."""
    grid = size_px, stride_px, cover_border
    return _count(height_px, *grid) * _count(width_px, *grid)


def _count(length_px, size_px, stride_px, cover_border):
    last = length_px - size_px
    if last < 0:
        return 0
    return last // stride_px + 1 + (cover_border and last % stride_px > 0)


def _origins(length_px, size_px, stride_px, cover_border):
    last = length_px - size_px
    origins = np.arange(0, last + 1, stride_px, dtype=np.int64)
    if cover_border and len(origins) and origins[-1] != last:
        return np.append(origins, last)
    return origins


class PatchCutter:
    """Cuts patches out of rows that arrive in order, holding `size_px` rows.

    Row y lives in row y % size_px of a ring; when the last row of a row of patches has arrived,
    each patch is gathered from the two pieces of the ring and handed to `write` as a contiguous
    array (k, size, size), aligned to ALIGNMENT_BYTES, that is valid during the call only.
    """

    def __init__(self, width_px, size_px, origins, dtype, write):
        self._size_px, self._write = size_px, write
        self._ring = np.empty((size_px, width_px), dtype)
        ys, starts = np.unique(origins[:, 0], return_index=True)
        self._rows = list(zip(ys.tolist(), np.split(origins[:, 1], starts[1:]), strict=True))
        self._rows.reverse()  # the next row of patches is the last
        self._next_row = 0
        patch_bytes = size_px * size_px * self._ring.itemsize
        per_write = max(1, WRITE_BYTES // patch_bytes)
        longest = max((len(xs) for _, xs in self._rows), default=1)
        self._batch = aligned((min(per_write, longest), size_px, size_px), self._ring.dtype)

    def add(self, rows):
        """Take in the next rows, float (b, W), and write the patches that they complete."""
        while len(rows) and self._rows:
            slot = self._next_row % self._size_px
            end_of_patches = self._rows[-1][0] + self._size_px
            count = min(len(rows), self._size_px - slot, end_of_patches - self._next_row)
            self._ring[slot : slot + count] = rows[:count]
            self._next_row += count
            rows = rows[count:]
            if self._next_row == end_of_patches:
                self._cut(*self._rows.pop())

    def _cut(self, y, xs):
        """Write the patches of one row of patches, whose rows are all in the ring."""
        size, seam = self._size_px, y % self._size_px
        for first in range(0, len(xs), len(self._batch)):
            part = xs[first : first + len(self._batch)]
            for patch, x in zip(self._batch, part.tolist(), strict=False):
                patch[: size - seam] = self._ring[seam:, x : x + size]
                patch[size - seam :] = self._ring[:seam, x : x + size]
            self._write(self._batch[: len(part)])


def aligned(shape, dtype):
    """Return an uninitialised array that starts at a multiple of ALIGNMENT_BYTES."""
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    raw = np.empty(n_bytes + ALIGNMENT_BYTES, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT_BYTES
    return raw[start : start + n_bytes].view(dtype).reshape(shape)
