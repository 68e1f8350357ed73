"""All denoisers side by side in one picture, from what benchmarks/denoising.py left in its cache.

    python benchmarks/denoising_picture.py ~/.cache/clearice-benchmarks/report.json PICTURE.png

Every panel of a block has the same grey scale: percentiles of the raw image, or of the mean of
the other frames, after a blur. Pixels are averaged 2 x 2, of the raw image too.
"""

import json
import sys
from pathlib import Path

import mrcfile
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

BLOCKS = {  # case -> (title, top left corner of the window: y, x)
    "proteasome": ("proteasome, simulated", (700, 700)),
    "filament": ("filament, simulated", (700, 700)),
    "May08_03.05.02_frame": ("apoferritin, one real frame (EMPIAR-10146)", (340, 360)),
}
LAST = {False: "truth", True: "mean of the other 49 frames"}
WINDOW_PX, BINNING, COLUMNS, GAP, CAPTION, HEADING = 432, 2, 4, 6, 20, 30
BAR_ANGSTROM = 200
GREYS = 28  # few, so that the picture stays small


def draw(report, path):
    """Draw the blocks whose cases are in the report; write a PNG of few greys."""
    cases = report["specimens"] | report["real"]
    blocks = [_block(cases[name], name, report) for name in BLOCKS if name in cases]
    width = max(block.width for block in blocks)
    sheet = Image.new("L", (width, sum(block.height for block in blocks)), 255)
    top = 0
    for block in blocks:
        sheet.paste(block, (0, top))
        top += block.height
    levels = np.rint(np.asarray(sheet) / 255 * (GREYS - 1)) * 255 / (GREYS - 1)
    sheet = Image.fromarray(np.rint(levels).astype(np.uint8))
    sheet.quantize(GREYS, dither=Image.Dither.NONE).save(path, optimize=True)


def _block(methods, name, report):
    """Return the panels of one case under a heading."""
    title, corner = BLOCKS[name]
    folder, real = Path(report["folders"][name]), name in report["real"]
    raw, pixel_angstrom = _read(folder / "even.mrc")
    scale = _read(folder / "rest.mrc")[0] if real else raw
    panels = [
        (_caption(report["methods"][key], figures), _read(figures["image"])[0])
        for key, figures in methods.items()
        if "image" in figures and key in report["shown"]
    ]
    if real:
        panels.append((LAST[real], scale))
    else:
        with np.load(folder / "fields.npz") as fields:
            panels.append((LAST[real], fields["truth"]))
    smooth = _window(ndimage.gaussian_filter(scale, 4 / pixel_angstrom), corner)
    dark, bright = np.percentile(smooth, (0.3, 99.7))
    side = WINDOW_PX // BINNING
    rows = -(-len(panels) // COLUMNS)
    size = (COLUMNS * (side + GAP) - GAP, HEADING + rows * (side + CAPTION + GAP))
    block = Image.new("L", size, 255)
    pen = ImageDraw.Draw(block)
    pen.text((0, 6), title, fill=0, font=ImageFont.load_default(17))
    for i, (caption, image) in enumerate(panels):
        x = i % COLUMNS * (side + GAP)
        y = HEADING + i // COLUMNS * (side + CAPTION + GAP)
        scaled = np.clip((_window(image, corner) - dark) / (bright - dark), 0, 1)
        block.paste(Image.fromarray(np.rint(255 * scaled).astype(np.uint8)), (x, y + CAPTION))
        pen.text((x, y + 2), caption, fill=0, font=ImageFont.load_default(13))
    bar_px = BAR_ANGSTROM / pixel_angstrom / BINNING
    left, bottom = x + side - bar_px - 8, y + CAPTION + side - 10
    pen.rectangle((left - 3, bottom - 20, x + side - 5, bottom + 7), fill=255)
    pen.rectangle((left, bottom, left + bar_px, bottom + 3), fill=0)
    label = f"{BAR_ANGSTROM // 10} nm"
    pen.text((left + bar_px / 2, bottom - 2), label, fill=0, anchor="mb",
             font=ImageFont.load_default(13))  # fmt: skip
    return block


def _caption(title, figures):
    return f"{title}, {figures['snr_db']:.1f} dB" if "snr_db" in figures else title


def _window(image, corner):
    """Return the window at `corner`, pixels averaged, (side, side)."""
    y, x = (min(c, length - WINDOW_PX) for c, length in zip(corner, image.shape, strict=True))
    window = image[y : y + WINDOW_PX, x : x + WINDOW_PX]
    side = WINDOW_PX // BINNING
    return window.reshape(side, BINNING, side, BINNING).mean(axis=(1, 3))


def _read(path):
    with mrcfile.open(path, permissive=True) as file:
        return np.array(file.data, np.float32), float(file.voxel_size.x)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])
