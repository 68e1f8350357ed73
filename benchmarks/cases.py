"""The micrographs of the comparison: made, and images of them scored.

    python benchmarks/cases.py make NAME SEED SIZE FOLDER   # a simulated specimen
    python benchmarks/cases.py pair FRAME REST FOLDER       # a real pair
    python benchmarks/cases.py score FOLDER IMAGE           # prints JSON

A case is a folder with even.mrc, which is denoised, and what its scores need: odd.mrc and
fields.npz of a simulated specimen (benchmarks/specimens.py), or rest.mrc, the mean of the other
frames of a real movie.
"""

import json
import sys
from pathlib import Path

import mrcfile
import numpy as np
from denoisers import correlation, read_image
from scipy import ndimage
from specimens import Specimen, snr_db, specimen

from clearice.micrographs.mrc_writer import write_micrograph
from clearice.validation.picking import (
    average_precision,
    blob_transfer,
    local_maxima,
    ranked_particles,
)
from clearice.validation.spectra import fourier_ring_correlation

FRC_BANDS = ((0.01, 0.02), (0.02, 0.04), (0.04, 0.07))  # cycles per pixel
ARRAYS = ("truth", "signal", "background", "judged", "centres_px")
NUMBERS = ("name", "seed", "diameter_px", "pixel_size_angstrom")


def make(name, seed, size_px, folder):
    """Write the case of a simulated specimen."""
    made = specimen(name, seed, size_px)
    arrays = {field: getattr(made, field) for field in ARRAYS}
    np.savez(folder / "fields.npz", **arrays, **{key: getattr(made, key) for key in NUMBERS})
    for half in ("even", "odd"):
        _write(folder / f"{half}.mrc", getattr(made, half), made.pixel_size_angstrom)


def pair(frame, rest, folder):
    """Write the case of a real pair: one frame, and the mean of the others."""
    for source, name in ((frame, "even"), (rest, "rest")):
        with mrcfile.open(source, permissive=True) as file:
            _write(folder / f"{name}.mrc", file.data, float(file.voxel_size.x))


def score(folder, image_path):
    """Return the figures of one denoised image as a dict; see main's docstring for the case."""
    image = read_image(image_path)
    if (folder / "rest.mrc").exists():
        return _score_real(image, read_image(folder / "rest.mrc"))
    with np.load(folder / "fields.npz") as fields:
        values = {key: fields[key] for key in ARRAYS} | {key: fields[key][()] for key in NUMBERS}
    made = Specimen(even=None, odd=None, **values)
    quarter = len(image) // 4
    middle = made.judged.copy()
    middle[:quarter], middle[-quarter:] = False, False
    middle[:, :quarter], middle[:, -quarter:] = False, False
    decibels = snr_db(made, image)
    return {
        "snr_db": decibels,
        "snr_middle_db": snr_db(made, image, middle),
        "correlation": float(np.sqrt(1 - 10 ** (-decibels / 10))),
        "picking_average_precision": _picking(made, image),
    }


def _score_real(image, rest):
    """Return the FRC with the raw rest of the frames in FRC_BANDS, and the correlation."""
    frequency, rings = fourier_ring_correlation(image, rest)
    bands = [rings[(frequency >= low) & (frequency < high)] for low, high in FRC_BANDS]
    return {
        "frc": [float(band.mean()) for band in bands],
        "correlation": correlation(image, rest),
    }


def _picking(made, image):
    """Return the average precision of a fixed blob detector of the particle's diameter, 0..1."""
    filled = np.where(made.judged, image, np.median(image[made.judged]))  # no crystal, no carbon
    size = len(filled)
    frequency = np.hypot(np.fft.fftfreq(2 * size)[:, None], np.fft.rfftfreq(2 * size)[None])
    mirrored = np.pad(filled - filled.mean(), ((0, size), (0, size)), mode="symmetric")
    spectrum = np.fft.rfft2(-mirrored)  # particles are dark
    response = np.fft.irfft2(
        spectrum * blob_transfer(frequency, made.diameter_px), s=[2 * size] * 2
    )
    response = np.pad(response[:size, :size], 1, constant_values=np.inf)
    positions, scores = local_maxima(response)
    ranked = ranked_particles(positions, scores, made.diameter_px)
    # Particles that the border, carbon or the crystal cuts are neither asked for nor counted.
    distance = ndimage.distance_transform_edt(np.pad(made.judged, 1))[1:-1, 1:-1]
    whole = distance > made.diameter_px / 2
    found, wanted = (
        points[whole[tuple(points.astype(int).T)]] for points in (ranked, made.centres_px)
    )
    return average_precision(found, wanted, made.diameter_px)


def _write(path, image, pixel_size_angstrom):
    write_micrograph(
        path, [image], *image.shape, pixel_size_angstrom=pixel_size_angstrom, label="benchmark"
    )


def main(step, *arguments):
    """Do one step; the arguments are in the docstring of this file."""
    if step == "make":
        name, seed, size_px, folder = arguments
        make(name, int(seed), int(size_px), Path(folder))
    elif step == "pair":
        pair(*map(Path, arguments))
    else:
        print(json.dumps(score(*map(Path, arguments))))


if __name__ == "__main__":
    main(*sys.argv[1:])
