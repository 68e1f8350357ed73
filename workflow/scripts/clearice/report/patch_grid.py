"""The patches drawn on a micrograph: how they overlap, and what lies in none of them."""

import html
import itertools
import math

import numpy as np

from clearice.report.pictures import data_uri, grey, picture_bytes

COLUMNS = ("micrograph", "patch", "y", "x", "size_px")
_LINES = 40  # rows or columns of patches that can be told apart
_HOT, _NEXT, _OUT = "#ffb000", "#40b0ff", "#ff5c5c"


def coverage(origins, size_px, shape):
    """Return (fraction covered, rectangles (y, x, height, width) that are in no patch).

    `origins` are the (y, x) of patches, in any order; `shape` is (height, width) of the image.
    Counted on the cells between all edges of patches, so that no pixel mask is held.
    """
    edges = [
        np.unique([0, length, *axis, *(np.asarray(axis) + size_px)])
        for axis, length in zip(zip(*origins, strict=True), shape, strict=True)
    ]
    starts = np.zeros([len(axis) for axis in edges], np.int64)
    at = [{int(edge): k for k, edge in enumerate(axis)} for axis in edges]
    for y, x in origins:
        corners = itertools.product((y, y + size_px), (x, x + size_px))
        for (a, b), sign in zip(corners, (1, -1, -1, 1), strict=True):
            starts[at[0][a], at[1][b]] += sign
    covered = starts.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] > 0
    heights, widths = (np.diff(axis) for axis in edges)
    share = float((covered * np.outer(heights, widths)).sum()) / (shape[0] * shape[1])
    return share, _rectangles(~covered, *edges)


def _rectangles(cells, ys, xs):
    """Return (y, x, height, width) of runs of true cells, the same run of several rows as one."""
    found, open_runs = [], {}
    for k, row in enumerate([*cells, np.zeros(cells.shape[1], bool)]):
        steps = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        runs = set(zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True))
        for run in open_runs.keys() - runs:
            top, (a, b) = open_runs.pop(run), run
            found.append(tuple(int(v) for v in (ys[top], xs[a], ys[k] - ys[top], xs[b] - xs[a])))
        open_runs |= dict.fromkeys(runs - open_runs.keys(), k)
    return sorted(found)


def grid_svg(view, record, label):
    """Draw the patches of a shard's `record` on a picture of the micrograph, as SVG text.

    `view` is a pictures.View of the whole micrograph, `label` the words for a reader who does not
    see it. The picture has its own colours: it looks the same on any page.
    """
    height, width, size = record["height_px"], record["width_px"], record["patch_size_px"]
    origins = list(zip(record["y"], record["x"], strict=True))
    _, outside = coverage(origins, size, (height, width))
    unit = max(height, width) / 1000  # a pixel of a drawing that is 1,000 wide
    least, greatest = np.percentile(view.image, (0.5, 99.5))
    image = grey(view.image, (least, greatest if greatest > least else least + 1))
    halved = 2 if record["target_kind"] == "pixel_halves" else 1
    # In pixels of the patches, less a remainder at the far border.
    shown = [side * view.binning / halved for side in view.image.shape]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{html.escape(label)}" font-family="system-ui, sans-serif">',
        f'<defs><pattern id="grid-hatch" width="{14 * unit:g}" height="{14 * unit:g}" '
        f'patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<rect width="{5 * unit:g}" height="{14 * unit:g}" fill="{_OUT}"/></pattern></defs>',
        f'<rect width="{width}" height="{height}" fill="#808080"/>',
        f'<image width="{shown[1]:g}" height="{shown[0]:g}" preserveAspectRatio="none" '
        f'href="{data_uri(picture_bytes(image, "jpeg"), "jpeg")}"/>',
    ]
    parts += [
        f'<rect class="outside" x="{x}" y="{y}" width="{w}" height="{h}" fill="url(#grid-hatch)" '
        f'stroke="{_OUT}" stroke-width="{1.5 * unit:g}"/>'
        for y, x, h, w in outside
    ]
    parts += _lines(origins, size, unit)
    parts += _highlighted(origins, record, unit)
    return "\n".join([*parts, "</svg>"])


def _lines(origins, size, unit):
    """Return the borders of all patches, or of every n-th where they would be a haze."""
    ys, xs = (sorted(set(axis)) for axis in zip(*origins, strict=True))
    top, bottom, left, right = ys[0], ys[-1] + size, xs[0], xs[-1] + size
    path, step = [], line_step(origins)
    for axis, form in ((ys, "M{1} {0}H{2}"), (xs, "M{0} {1}V{2}")):
        ends = (left, right) if axis is ys else (top, bottom)
        edges = sorted({*axis[::step], *(v + size for v in axis[::step])})
        path += [form.format(v, *ends) for v in edges]
    return [
        f'<path d="{"".join(path)}" fill="none" stroke="#ffffff" stroke-opacity=".75" '
        f'stroke-width="{1.6 * unit:g}"/>'
    ]


def line_step(origins):
    """Return n: the borders of every n-th row and column of patches are drawn."""
    return -(-max(len(set(axis)) for axis in zip(*origins, strict=True)) // _LINES)


def _highlighted(origins, record, unit):
    """Return one patch near the middle in full, and the next one dashed where they overlap."""
    size = record["patch_size_px"]
    y, x = highlighted(origins, size, (record["height_px"], record["width_px"]))
    parts = []
    beside = min((c for b, c in origins if b == y and c > x), default=None)
    if beside is not None:
        parts.append(
            f'<rect x="{beside}" y="{y}" width="{size}" height="{size}" fill="{_NEXT}" '
            f'fill-opacity=".18" stroke="{_NEXT}" stroke-width="{5 * unit:g}" '
            f'stroke-dasharray="{16 * unit:g} {9 * unit:g}"/>'
        )
    parts.append(
        f'<rect x="{x}" y="{y}" width="{size}" height="{size}" fill="{_HOT}" fill-opacity=".22" '
        f'stroke="{_HOT}" stroke-width="{6 * unit:g}"/>'
    )
    text = f"{size} px"
    letter = min(34 * unit, size / 4)
    parts.append(
        f'<text x="{x + size / 2:g}" y="{y + letter * 1.3:g}" font-size="{letter:g}" '
        f'font-weight="600" text-anchor="middle" fill="#ffffff" stroke="#000000" '
        f'stroke-width="{letter / 6:g}" paint-order="stroke">{text}</text>'
    )
    return parts


def highlighted(origins, size_px, shape):
    """Return the (y, x) of the patch whose middle is nearest to that of the image."""
    middle = [(length - size_px) / 2 for length in shape]
    return min(origins, key=lambda place: math.dist(place, middle))


def grid_words(record):
    """Return sentences about the patches of a shard's record: how they lie, what is in none."""
    size, stride = record["patch_size_px"], record["stride_px"]
    height, width = record["height_px"], record["width_px"]
    origins = list(zip(record["y"], record["x"], strict=True))
    share, outside = coverage(origins, size, (height, width))
    words = [
        f"{len(origins):,} patches of {size} x {size} px lie on {height:,} x {width:,} px, one "
        f"every {stride} px (patches.size_px, stride_px)."
    ]
    if stride < size:
        most = -(-size // stride)
        words.append(
            f"Neighbours overlap by {size - stride} px: away from the border a pixel is in "
            f"{'up to ' if size % stride else ''}{most * most} patches."
        )
    elif stride > size:
        words.append(f"Between neighbours {stride - size} px are in no patch.")
    words.append(_outside_words(share, outside, record))
    if record["target_kind"] == "pixel_halves":
        words.append(
            "They were cut from images of half the resolution (the two diagonals of each 2 x 2 "
            "pixels); positions and sizes count those pixels."
        )
    return words


def _outside_words(share, outside, record):
    if not outside:
        return "Every pixel is in at least one patch."
    size, stride = record["patch_size_px"], record["stride_px"]
    last = [max(record[axis]) + size for axis in ("y", "x")]
    border = [
        length - end
        for length, end in zip((record["height_px"], record["width_px"]), last, strict=True)
    ]
    text = f"{_percent(1 - share)} of the micrograph (hatched) are in no patch"
    if any(border) and not record["cover_border"]:
        text += (
            f": {border[0]} rows at the bottom and {border[1]} columns at the right are left "
            "over. patches.cover_border: true adds a last row and column of patches there"
        )
    elif stride > size:
        text += "; a stride_px of at most size_px leaves no gaps"
    else:
        text += ": patches that are mostly blank are not cut"
    return text + "."


def _percent(share):
    return f"{100 * share:.1f} %" if share >= 0.001 else "less than 0.1 %"


def grid_rows(record):
    """Return one row per patch for the table beside the figure."""
    about = {"micrograph": record["micrograph"], "size_px": record["patch_size_px"]}
    places = zip(record["y"], record["x"], strict=True)
    return [{**about, "patch": k, "y": y, "x": x} for k, (y, x) in enumerate(places)]
