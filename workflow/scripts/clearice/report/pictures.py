"""Micrographs as pictures: views that fit a page, one grey scale, scale bars, data URIs.

Views are for the eye only: 8 bits, cropped or averaged. A whole micrograph is never held.
"""

import base64
import io
from dataclasses import dataclass

import numpy as np

VIEW_PX = 520  # largest side of a view on the page: 1024 px are averaged 2 x 2
_NICE = (1, 2, 5)


@dataclass(frozen=True)
class View:
    """A part of a micrograph as it is shown: (h, w) float32, each the mean of binning x binning."""

    image: np.ndarray
    binning: int
    pixel_size_angstrom: float | None

    @property
    def scale_bar(self):
        """Fraction of the width and the text of a bar of round length, about a fifth of it."""
        width = self.image.shape[1] * self.binning
        if not self.pixel_size_angstrom:
            length = round_length(width / 5)
            return length / width, f"{length:g} px"
        width_nm = width * self.pixel_size_angstrom / 10
        length = round_length(width_nm / 5)
        return length / width_nm, f"{length:g} nm"


def round_length(length):
    """Return the largest 1, 2 or 5 times a power of ten that is at most `length` > 0."""
    power = 10.0 ** np.floor(np.log10(length))
    return max(nice * power for nice in _NICE if nice * power <= length * (1 + 1e-9))


class BinnedView:
    """A View of a whole image, made of its rows as they come: means of b x b pixels.

    b (`binning`) is the least with which the longer side is at most `side_px`; a remainder of
    less than b rows or columns at the far border is left out. Sums are float32: of the few rows of
    a block of pixels they are as exact as the pixels themselves.
    """

    def __init__(self, height_px, width_px, side_px=VIEW_PX):
        self.binning = -(-max(height_px, width_px) // side_px)
        self._high, self._wide = min(self.binning, height_px), min(self.binning, width_px)
        self._rows, self._columns = height_px // self._high, width_px // self._wide
        self._sums = np.zeros((self._rows, self._columns), np.float32)
        self._ones = np.ones(self._wide, np.float32)

    def add(self, first, rows):
        """Take in `rows`, float32 (b, W), which begin at row `first` of the image."""
        kept = rows[:, : self._columns * self._wide]
        start, end = first, min(first + len(rows), self._rows * self._high)
        while start < end:
            target = start // self._high
            stop = min((target + 1) * self._high, end)
            down = kept[start - first : stop - first].sum(axis=0)
            self._sums[target] += down.reshape(self._columns, self._wide) @ self._ones
            start = stop

    def view(self, pixel_size_angstrom=None):
        """Return the View, once all rows have been taken in."""
        image = self._sums / np.float32(self._wide * self._high)
        return View(image, self.binning, pixel_size_angstrom)


def whole_view(micrograph, side_px=VIEW_PX):
    """Return a View of the whole open micrograph (BinnedView); rows are streamed."""
    binned = BinnedView(micrograph.height_px, micrograph.width_px, side_px)
    for first, rows in micrograph.blocks():
        binned.add(first, rows)
    return binned.view(micrograph.pixel_size_angstrom)


def central_view(micrograph, side_px):
    """Return a View of the central part of the open micrograph, every pixel as it is."""
    height, width = min(side_px, micrograph.height_px), min(side_px, micrograph.width_px)
    top, left = (micrograph.height_px - height) // 2, (micrograph.width_px - width) // 2
    image = micrograph.read_rows(top, height)[:, left : left + width]
    return View(np.array(image), 1, micrograph.pixel_size_angstrom)


def common_limits(*images, low=1.0, high=99.0):
    """Return the grey limits that hold the given percentiles of every image."""
    limits = np.array([np.percentile(image, (low, high)) for image in images])
    least, greatest = float(limits[:, 0].min()), float(limits[:, 1].max())
    return (least, greatest) if greatest > least else (least - 0.5, least + 0.5)


def grey(image, limits):
    """Map an image linearly to uint8, black at the lower and white at the upper limit."""
    least, greatest = limits
    scaled = (np.asarray(image, np.float32) - least) * (255 / (greatest - least))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def picture_bytes(image, kind="png", quality=88):
    """Encode a uint8 (h, w) or (h, w, 3) image as png, jpeg or webp; `quality` is not for png."""
    from PIL import Image

    buffer = io.BytesIO()
    options = {"optimize": True} if kind == "png" else {"quality": quality}
    Image.fromarray(image).save(buffer, format=kind, **options)
    return buffer.getvalue()


def data_uri(data, kind):
    """Return bytes of an image as a data URI: the page needs no other file."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
