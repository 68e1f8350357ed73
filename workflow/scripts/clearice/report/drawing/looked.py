"""The pictures of one page: every file that can be read, at one contrast, and what could not be."""

from dataclasses import dataclass

import numpy as np

from clearice.bridge import users_line
from clearice.errors import InputError
from clearice.micrographs.mrc import open_micrograph
from clearice.report.drawing.header import Header, header_of
from clearice.report.drawing.reading import read_once
from clearice.report.drawing.subjects import ROLES
from clearice.report.drawing.views import Seen, look_at, require_size, residual_of
from clearice.report.pictures import (
    BinnedView,
    View,
    common_limits,
    data_uri,
    grey,
    picture_bytes,
)

THUMBNAIL_PX = 64
# A picture of noise takes 2 ms and 200 kB as JPEG, 30 ms and 190 kB as WebP. Thumbnails, of which
# one page holds thousands, take 1 ms as WebP, and a third less room.
_JPEG_QUALITY, _WEBP_QUALITY = 70, 40
_SAMPLES = 1 << 15  # of pixels, of which percentiles are taken
_WIDEST = 2.0  # times the denoised image's own range: beyond it noise alone would fit
_MARGIN = 1.25


@dataclass(frozen=True)
class Looked:
    """What was found in the files of a micrograph.

    seen: role -> Seen; header: the Header of the raw file, None where it could not be opened;
    faults: lines on files that could not be read.
    """

    seen: dict[str, Seen]
    header: Header | None
    faults: list[str]


def look_at_files(subject):
    """Return what is Looked at of a Subject; what the user can cure becomes a line of `faults`."""
    seen, faults, header = {}, [], None
    size_angstrom = subject.pixel_size_angstrom
    for role in ROLES:
        if role not in subject.files:
            continue
        path = subject.files[role]
        try:
            with (
                open_micrograph(path, hashed=False) as micrograph,
                read_once(path) as have_read,
            ):
                require_size(path, micrograph, header and header.size_px)
                if role == "raw":
                    header = header_of(micrograph, subject.states.get(role))
                    size_angstrom = size_angstrom or micrograph.pixel_size_angstrom
                seen[role] = look_at(micrograph, size_angstrom, have_read)
        except (InputError, OSError) as error:
            faults.append(users_line(error) or f"{path}: {error}")
            if role == "raw":  # nothing to compare the others with
                return Looked({}, header, faults)
    return Looked(seen, header, faults)


def grey_limits(raw, denoised):
    """Return the grey limits that raw and denoised images are shown with, side by side.

    They hold what the denoised image has, with room around it for a part of the noise: with all of
    the noise the denoised image would be flat grey, without any raw would be black and white.
    """
    if denoised is None:
        return common_limits(_sampled(raw), low=0.5, high=99.5)
    least, greatest = common_limits(_sampled(denoised))
    raw_least, raw_greatest = common_limits(_sampled(raw))
    middle, half = (least + greatest) / 2, (greatest - least) / 2
    half = max(_MARGIN * half, min((raw_greatest - raw_least) / 2, _WIDEST * half))
    return middle - half, middle + half


def _sampled(image):
    step = max(1, int(np.sqrt(image.size / _SAMPLES)))
    return image[::step, ::step]


def picture_rows(seen):
    """Return the two fields of a page: {"view", "title", "field_px", "binning", "images"}.

    `images` are {"role", "uri", "height", "width"}; all but the residual, which has its own, share
    one grey scale.
    """
    rows = []
    for name, title in (("whole", "whole field"), ("centre", "centre, every pixel")):
        views = {role: getattr(image, name) for role, image in seen.items()}
        denoised = views.get("denoised")
        limits = grey_limits(views["raw"].image, denoised and denoised.image)
        images = [_picture(role, view, limits) for role, view in views.items()]
        if denoised:
            residual = residual_of(views["raw"], denoised)
            images.insert(2, _picture("residual", residual, residual_limits(residual.image)))
        first = views["raw"]
        rows.append(
            {
                "view": name,
                "title": title,
                "field_px": [side * first.binning for side in first.image.shape],
                "binning": first.binning,
                "angstrom_per_px": first.pixel_size_angstrom,
                "images": images,
            }
        )
    return rows


def residual_limits(image):
    """Return the grey limits of a residual: its 98 % around the middle, nothing is mid-grey."""
    sampled = _sampled(image)
    middle = float(np.median(sampled))
    half = float(np.percentile(np.abs(sampled - middle), 98)) or 0.5
    return middle - half, middle + half


def _picture(role, view, limits):
    data = picture_bytes(grey(view.image, limits), "jpeg", _JPEG_QUALITY)
    height, width = view.image.shape
    return {"role": role, "uri": data_uri(data, "jpeg"), "height": height, "width": width}


def thumbnail(seen):
    """Return (bytes of a WebP image, [height, width]): raw left, denoised right."""
    small = [_shrunk(seen[role].whole) for role in ("raw", "denoised") if role in seen]
    limits = common_limits(*small)
    image = np.hstack([grey(part, limits) for part in small])
    return picture_bytes(image, "webp", _WEBP_QUALITY), list(image.shape)


def _shrunk(view: View):
    binned = BinnedView(*view.image.shape, THUMBNAIL_PX)
    binned.add(0, view.image)
    return binned.view().image
