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


def whole_view(micrograph, side_px=VIEW_PX):
    """Return a View of the whole open micrograph: means of blocks of b x b pixels.

    b is the least binning with which the longer side is at most `side_px`; a remainder of less
    than b rows or columns at the far border is left out. Rows are streamed.
    """
    height, width = micrograph.height_px, micrograph.width_px
    binning = -(-max(height, width) // side_px)
    rows, columns = max(height // binning, 1), max(width // binning, 1)
    sums = np.zeros((rows, columns), np.float64)
    across = min(binning, width)
    for first, block in micrograph.blocks():
        kept = block[:, : columns * across].astype(np.float64)
        binned = kept.reshape(len(block), columns, across).sum(axis=2)
        target = np.arange(first, first + len(block)) // binning
        inside = target < rows
        np.add.at(sums, target[inside], binned[inside])
    image = sums / (across * min(binning, height))
    return View(image.astype(np.float32), binning, micrograph.pixel_size_angstrom)


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


def picture_bytes(image, kind="png"):
    """Encode a uint8 (h, w) or (h, w, 3) image as png or jpeg."""
    from PIL import Image

    buffer = io.BytesIO()
    options = {"png": {"optimize": True}, "jpeg": {"quality": 88, "optimize": True}}[kind]
    Image.fromarray(image).save(buffer, format=kind, **options)
    return buffer.getvalue()


def data_uri(data, kind):
    """Return bytes of an image as a data URI: the page needs no other file."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
