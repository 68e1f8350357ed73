"""The images that are compared: read together in windows, kept on disk, never whole in memory."""

import contextlib
import itertools
import tempfile
from types import SimpleNamespace

import numpy as np

from clearice.denoised.bands import overlapping_bands, window_origins
from clearice.denoised.tiles import chosen_tile_px, denoise_bands

_ROWS = 64  # that are read at once
ALIGNED_PX = 8  # windows begin at multiples of it: the grid of any network keeps its phase


class RowFile:
    """An image on disk without a name, so that it is gone whatever ends the process.

    height_px, width_px; `blocks()` yields its rows, float32 (b, W), any number of times.
    """

    def __init__(self, bands, height_px, width_px, folder):
        """Write `bands`, float32 (b, W) top to bottom, into a file in `folder`."""
        self.height_px, self.width_px = height_px, width_px
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by close()
        for band in bands:
            np.ascontiguousarray(band, np.float32).tofile(self._file)

    def blocks(self):
        """Yield the rows in order."""
        self._file.seek(0)
        for first in range(0, self.height_px, _ROWS):
            count = min(_ROWS, self.height_px - first) * self.width_px
            yield np.fromfile(self._file, np.float32, count).reshape(-1, self.width_px)

    def close(self):
        """Give the disk space back."""
        self._file.close()


class FilledRows:
    """An image whose blank pixels hold its level, so that they add nothing to any comparison.

    `blank` is a BlankArea, `level` a number. What else the image has, it has.
    """

    def __init__(self, image, blank, level):
        self._image, self._blank, self._level = image, blank, level

    def __getattr__(self, name):
        return getattr(self._image, name)

    def blocks(self):
        """Yield the rows in order, float32 (b, W)."""
        return self._blank.filled(self._image.blocks(), self._level)


@contextlib.contextmanager
def denoised_file(network, rows, folder, *, tile_px, device):
    """Yield a RowFile in `folder` of `rows` (a MicrographRows) through the network."""
    tile_px = chosen_tile_px(tile_px, device, network)
    bands = denoise_bands(network, rows, tile_px=tile_px, device=device)
    file = RowFile(bands, rows.height_px, rows.width_px, folder)
    try:
        yield file
    finally:
        file.close()


def window_size_px(height_px, width_px, limit_px):
    """Return the side of windows for an image: at most the limit, a multiple of ALIGNED_PX.

    Chosen so that the windows overlap little: sums over them then scatter as if they did not.
    """
    side = min(n // -(-n // limit_px) for n in (height_px, width_px))
    return side - side % ALIGNED_PX


def rows_of(images):
    """Yield {name: rows (b, W)} down all images (name -> image with blocks()) at once."""
    height = next(iter(images.values())).height_px
    yield from _bands(images, [(y, min(y + _ROWS, height)) for y in range(0, height, _ROWS)])


def windows_of(images, size_px):
    """Yield {name: (S, S)} of square windows that cover all images (name -> image with blocks()).

    Origins are rounded down to multiples of ALIGNED_PX; up to 7 px at the far border may be left
    out. Needs S rows of each image.
    """
    first = next(iter(images.values()))
    tops, lefts = (_aligned_origins(n, size_px) for n in (first.height_px, first.width_px))
    for bands in _bands(images, [(top, top + size_px) for top in tops]):
        for left in lefts:
            yield {name: rows[:, left : left + size_px] for name, rows in bands.items()}


def tiles_of(images, size_px, halo_px):
    """Yield (top, left, height, width, {name: (h + 2 halo, w + 2 halo)}) of tiles without overlap.

    Beyond the border of the image the halo is its mirror image. Needs S + 2 halo rows of each.
    """
    first = next(iter(images.values()))
    height, width = first.height_px, first.width_px
    tops, lefts = (_edges(n, size_px) for n in (height, width))
    spans = [(max(t - halo_px, 0), min(b + halo_px, height)) for t, b in tops]
    for (top, bottom), (begin, end), bands in zip(tops, spans, _bands(images, spans), strict=True):
        for left, right in lefts:
            start, stop = max(left - halo_px, 0), min(right + halo_px, width)
            padding = (
                (halo_px - (top - begin), halo_px - (end - bottom)),
                (halo_px - (left - start), halo_px - (stop - right)),
            )
            tile = {
                name: np.pad(rows[:, start:stop], padding, mode="symmetric")
                for name, rows in bands.items()
            }
            yield top, left, bottom - top, right - left, tile


def central_window(rows, size_px):
    """Return the central window of an image with blocks() as float32 (h, w), at most S x S."""
    height, width = min(size_px, rows.height_px), min(size_px, rows.width_px)
    top, left = (rows.height_px - height) // 2, (rows.width_px - width) // 2
    buffer = np.empty((height, rows.width_px), np.float32)
    (band,) = overlapping_bands(_skipped(rows, top), buffer, [(0, height)])
    return band[:, left : left + width].copy()


def _skipped(rows, first):
    """Yield the rows of an image from row `first` on."""
    passed = 0
    for block in rows.blocks():
        kept = block[max(first - passed, 0) :]
        passed += len(block)
        if len(kept):
            yield kept


def network_output(network, window, device, tile_px=None):
    """Return what a network makes of a normalised window, float (h, w) -> float32 (h, w).

    In tiles, as a micrograph is denoised, so that memory stays bounded.
    """
    window = np.asarray(window, np.float32)
    statistics = SimpleNamespace(location=0.0, scale=1.0)
    rows = SimpleNamespace(
        path="a window",
        height_px=window.shape[0],
        width_px=window.shape[1],
        blocks=lambda: iter([window]),
        kept=None,
        survey=SimpleNamespace(input=statistics, blank=None),
    )
    tile_px = chosen_tile_px(tile_px, device, network)
    return np.concatenate(list(denoise_bands(network, rows, tile_px=tile_px, device=device)))


def _aligned_origins(length_px, size_px):
    return [o - o % ALIGNED_PX for o in window_origins(length_px, size_px)]


def _edges(length_px, size_px):
    """Return (first, last) of the fewest tiles of about equal length, none above `size_px`."""
    count = -(-length_px // size_px)
    edges = [round(i * length_px / count) for i in range(count + 1)]
    return list(itertools.pairwise(edges))


def _bands(images, spans):
    """Yield {name: rows} of each span, down all images at once."""
    most = max(last - first for first, last in spans)
    streams = [
        overlapping_bands(i.blocks(), np.empty((most, i.width_px), np.float32), spans)
        for i in images.values()
    ]
    for rows in zip(*streams, strict=True):
        yield dict(zip(images, rows, strict=True))
