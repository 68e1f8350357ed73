"""Examples for the report: micrographs side by side at one contrast, and training patches."""

import contextlib

import numpy as np

from clearice.micrographs.mrc import open_micrograph
from clearice.report.pictures import (
    central_view,
    common_limits,
    data_uri,
    grey,
    picture_bytes,
    whole_view,
)

DETAIL_PX = 320
STRETCH_FROM = 2.5  # times less contrast than the row: shown once more, stretched
_TITLES = {
    "raw": "raw",
    "denoised": "denoised",
    "target": "raw other half",
    "truth": "truth",
}


def micrograph_examples(names, results):
    """Yield one example a name: dict of name, split, evidence and rows of pictures.

    `results` are results.Results; evidence is the record of the validation, or None for a
    micrograph that was trained on. A row is the centre (every pixel) or the whole field
    (averaged to fit): {"title", "bar", "images": [(title, uint8 (h, w))]}.
    """
    for name in names:
        evidence = results.validation and results.validation.by_name.get(name)
        files = {**(evidence["files"] if evidence else {}), **results.denoised[name]["files"]}
        judge = "truth" if "truth" in files else "target"
        roles = [role for role in ("raw", "denoised", judge) if role in files]
        with contextlib.ExitStack() as stack:
            readers = [stack.enter_context(open_micrograph(files[role])) for role in roles]
            whole = [whole_view(reader) for reader in readers]
            centre = [central_view(reader, DETAIL_PX) for reader in readers]
        yield {
            "name": name,
            "split": results.splits.get(name, ""),
            "evidence": evidence,
            "roles": roles,
            "rows": [_row("centre", roles, centre), _row("whole field", roles, whole)],
        }


def _row(title, roles, views):
    """Turn views of one field into pictures with one grey scale."""
    limits = contrast_limits([view.image for view in views])
    first = views[0]
    shape = " x ".join(str(side * first.binning) for side in first.image.shape)
    images = []
    for role, view in zip(roles, views, strict=True):
        images.append((_TITLES[role], grey(view.image, limits)))
        if role == "denoised":
            images += stretched(view.image, limits)
    return {
        "title": title,
        "field": f"{shape} px",
        "binning": first.binning,
        "bar": first.scale_bar,
        "images": images,
    }


def stretched(image, limits):
    """Return [(title, uint8)] of a denoised image on a grey scale of its own, or [].

    A network that sees little signal is right to answer with little contrast (the mean of all
    that could be): on the common scale it may be flat grey, though the signal is there.
    """
    own = contrast_limits([image])
    factor = (limits[1] - limits[0]) / (own[1] - own[0])
    if factor < STRETCH_FROM:
        return []
    return [(f"denoised, contrast x {factor:.0f}", grey(image, own))]


def contrast_limits(images):
    """Return one pair of grey limits for a raw image and the less noisy ones that follow it.

    They hold 1-99 % of the pixels of every image but the raw one, and a quarter more on
    either side: with the limits of the raw image, noise would leave the others flat grey.
    """
    least, greatest = common_limits(*(images[1:] or images))
    margin = 0.25 * (greatest - least)
    return least - margin, greatest + margin


class PatchRows:
    """A patch with the interface of an open micrograph, as far as a view needs it."""

    pixel_size_angstrom = None

    def __init__(self, patch):
        self._rows = np.asarray(patch, np.float32)
        self.height_px, self.width_px = patch.shape

    def blocks(self):
        """Yield all rows at once."""
        yield 0, self._rows


def embedded(row, kind="jpeg"):
    """Return a row's pictures for the page: [(title, data URI, height, width)]."""
    return [
        (title, data_uri(picture_bytes(image, kind), kind), *image.shape)
        for title, image in row["images"]
    ]
