"""Denoise one micrograph by a published method, in a process of its own.

    python benchmarks/denoisers.py gaussian|wiener|bm3d FOLDER OUTPUT

benchmarks/denoising.py runs this, so that CPU time and peak memory are those of one method; the
folder is a case of benchmarks/cases.py. `bm3d` runs in an environment of its own, so this file
imports nothing of clearice.
"""

import sys
from pathlib import Path

import mrcfile
import numpy as np
from scipy import ndimage

SIGMAS_PX = (0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10, 12)


def gaussian(folder):
    """Blur with the width that is best for this very image, which takes the truth to know."""
    image, reference, background = _known(folder)

    def quality(sigma_px):
        return correlation(ndimage.gaussian_filter(image - background, sigma_px), reference)

    return ndimage.gaussian_filter(image, max(SIGMAS_PX, key=quality))


def wiener(folder):
    """Filter by the radial transfer with the least error: no linear isotropic filter is better.

    H(k) = Re <F R*> / <|F|^2> over five rings, R the true signal; the known background is taken
    out. Of a real pair R is the mean of the other frames, whose own noise leaves a little chance.
    """
    image, reference, background = _known(folder)
    spectrum, wanted = (np.fft.rfft2(x - x.mean()) for x in (image - background, reference))
    height, width = image.shape
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    ring = np.rint(radius * min(height, width)).astype(int)
    power = np.bincount(ring.ravel(), np.square(np.abs(spectrum)).ravel())
    cross = np.bincount(ring.ravel(), (spectrum * np.conj(wanted)).real.ravel())
    power, cross = (ndimage.uniform_filter1d(sums, 5) for sums in (power, cross))
    transfer = np.clip(cross / np.maximum(power, 1e-30), 0, None)
    return np.fft.irfft2(spectrum * transfer[ring], s=image.shape)


def bm3d(folder):
    """BM3D (Dabov et al., IEEE Trans. Image Process. 16 (2007) 2080), both stages.

    The noise is nearly all of the image, so its standard deviation is the median absolute
    deviation of the pixels times 1.4826, which a crystal or an edge does not move.
    """
    import bm3d as published

    image = read_image(folder / "even.mrc")
    image = image - np.median(image)
    return published.bm3d(image, 1.4826 * np.median(np.abs(image)))


def _known(folder):
    """Return the image, what it should be, and the background that is known, all (H, W)."""
    image = read_image(folder / "even.mrc")
    if (folder / "rest.mrc").exists():
        return image, read_image(folder / "rest.mrc"), np.float32(0)
    with np.load(folder / "fields.npz") as fields:
        return image, fields["signal"], fields["background"]


def correlation(first, second):
    """Return Pearson's correlation of two images."""
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def read_image(path):
    """Return the image in an MRC file, float32 (H, W)."""
    with mrcfile.open(path, permissive=True) as file:
        return np.array(file.data, np.float32)


def main(method, folder, output):
    """Denoise the case in `folder` by `method`; write an MRC file."""
    image = {"gaussian": gaussian, "wiener": wiener, "bm3d": bm3d}[method](Path(folder))
    with mrcfile.new(output, overwrite=True) as file:
        file.set_data(image.astype(np.float32))


if __name__ == "__main__":
    main(*sys.argv[1:])
