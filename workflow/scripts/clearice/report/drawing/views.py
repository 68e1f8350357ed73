"""What is seen of a micrograph: the whole field, its centre, and its power, in one pass over it."""

from dataclasses import dataclass

import numpy as np

from clearice.errors import InputError
from clearice.report.pictures import BinnedView, View
from clearice.validation.spectra import RingSums

WHOLE_PX, CENTRE_PX = 640, 448  # largest sides of the two pictures
SPECTRUM_PX, SPECTRA_ACROSS = 256, 3  # windows of power spectra: side, and how many in a row


@dataclass(frozen=True)
class Seen:
    """What one pass over an image leaves: two Views, and the windows of its spectrum.

    windows: float32 (n, S, S). not_finite: pixels of the views that were no numbers.
    """

    whole: View
    centre: View
    windows: np.ndarray
    not_finite: int


def look_at(micrograph, pixel_size_angstrom=None, have_read=lambda n_bytes: None):
    """Return what is Seen of an open micrograph; rows are streamed.

    `pixel_size_angstrom` is used in place of the header's; `have_read` is told how many bytes of
    pixels have been read.
    """
    height, width = micrograph.height_px, micrograph.width_px
    size = pixel_size_angstrom or micrograph.pixel_size_angstrom
    binned = BinnedView(height, width, WHOLE_PX)
    top, high, left, wide = *_middle(height, CENTRE_PX), *_middle(width, CENTRE_PX)
    centre = np.zeros((high, wide), np.float32)
    boxes = spectrum_windows(height, width)
    windows = np.zeros((len(boxes), boxes[0][1], boxes[0][3]), np.float32)
    parts = [_Part(centre, top, left)]
    parts += [_Part(image, box[0], box[2]) for image, box in zip(windows, boxes, strict=True)]
    for first, rows in micrograph.blocks():
        binned.add(first, rows)
        for part in parts:
            part.add(first, rows)
        have_read((first + len(rows)) * width * micrograph.dtype.itemsize)
    whole, middle = binned.view(size), View(centre, 1, size)
    bad = sum(map(_without_bad_pixels, (whole.image, centre)))
    _without_bad_pixels(windows)
    return Seen(whole, middle, windows, bad)


def spectrum_windows(height_px, width_px):
    """Return (top, height, left, width) of equal squares, spread over the whole field."""
    side = min(SPECTRUM_PX, height_px, width_px)
    tops, lefts = (_spread(length, side) for length in (height_px, width_px))
    return [(top, side, left, side) for top in tops for left in lefts]


def _spread(length, side):
    count = min(SPECTRA_ACROSS, length // side)
    return [round((length - side) * (2 * k + 1) / (2 * count)) for k in range(count)]


def _middle(length, most):
    kept = min(length, most)
    return (length - kept) // 2, kept


class _Part:
    """A rectangle of an image, which begins at (top, left), filled from its rows as they come."""

    def __init__(self, image, top, left):
        self._image, self._top, self._left = image, top, left

    def add(self, first, rows):
        height, width = self._image.shape
        start, stop = max(first, self._top), min(first + len(rows), self._top + height)
        if start < stop:
            part = rows[start - first : stop - first, self._left : self._left + width]
            self._image[start - self._top : stop - self._top] = part


def _without_bad_pixels(image):
    """Put the mean of the others in the place of pixels that are no numbers; return how many."""
    bad = ~np.isfinite(image)
    count = int(np.count_nonzero(bad))
    if count:
        image[bad] = 0.0 if bad.all() else image[~bad].mean(dtype=np.float64)
    return count


def power_spectra(seen):
    """Return (frequency_per_px, {role: power}) of what is Seen, by role, of raw and others.

    In squared units of the micrograph, per pixel: white noise of variance v has the power v. The
    0th ring, whose mean is taken off, is left out.
    """
    side = seen["raw"].windows.shape[1]
    others = [role for role in seen if role != "raw"] or ["raw"]
    rings = RingSums((side, side), [("raw", role) for role in others])
    for windows in zip(*(image.windows for image in seen.values()), strict=True):
        rings.add(dict(zip(seen, windows, strict=True)))
    powers = {role: rings.power(role)[1:].tolist() for role in seen}
    return rings.frequency_per_px[1:].tolist(), powers


def residual_of(raw, denoised):
    """Return the View of raw minus denoised; both are Views of one field."""
    return View(raw.image - denoised.image, raw.binning, raw.pixel_size_angstrom)


def require_size(path, micrograph, expected):
    """Raise InputError where an open image has not the (height_px, width_px) that was recorded."""
    found = micrograph.height_px, micrograph.width_px
    if expected is not None and found != tuple(expected):
        raise InputError(
            "has another size than the micrograph",
            file=path,
            expected="{} x {} px".format(*expected),
            found="{} x {} px".format(*found),
        )
