"""A particle like the 20S proteasome of Thermoplasma: its mass distribution and projections.

Four stacked rings of seven subunits (alpha, beta, beta, alpha) with D7 symmetry, 148 x 113
angstrom, 673 kDa, three chambers in a row joined by narrow pores (Loewe et al., Science 268
(1995) 533). The subunits are simplified to 20 Gaussian blobs each, in three layers with a twist.
That is enough for the grooves, chambers and pores that an image at 10-20 angstrom shows.
"""

import numpy as np

from clearice.errors import InputError

MASS_DALTON = 673_000
BLOB_SIGMA_ANGSTROM = 5.0
RADIUS_ANGSTROM = 100.0  # of a sphere around the whole particle, including five blob sigmas
DIAMETER_ANGSTROM = 130.0  # of a disk like its average view: 115 wide and 150 long
SPACING_ANGSTROM = 150.0  # least distance between centres: particles may touch but never overlap

_RING_HEIGHT_ANGSTROM = 37.0
_LAYERS_ANGSTROM = ((29.0, 6.5), (40.0, 8.5), (51.5, 6.0))  # radius, half the width of each
_PORES_ANGSTROM = {  # (radius, height) of loops that narrow the channel between the chambers
    "alpha": ((14.0, 66.0), (20.0, 58.0)),
    "beta": ((20.0, 35.0), (22.0, 28.0)),
}
_TWIST = 0.25  # sideways shift with height: makes the subunits chiral, as proteins are
_TILT = {"alpha": 0.25, "beta": -0.25}  # rise with radius: layers of atoms are not level


def proteasome():
    """Return the centres of the blobs, (560, 3) float64 (x, y, z) in angstrom, z the D7 axis.

    All blobs have the same weight and the width BLOB_SIGMA_ANGSTROM.
    """
    half = np.concatenate([_ring("alpha", 1.5), _ring("beta", 0.5)])  # the upper two rings
    return np.concatenate([half, half * (1, -1, -1)])  # twofold axis along x: the lower two


def _ring(kind, level):
    """Return seven subunits around the axis, (7 * blobs, 3), `level` ring heights up."""
    middle = level * _RING_HEIGHT_ANGSTROM
    blobs = [
        (radius, side + _TWIST * height, middle + height + _TILT[kind] * (radius - 40.0))
        for radius, half_width in _LAYERS_ANGSTROM
        for side in (-half_width, half_width)
        for height in (-11.0, 0.0, 11.0)
    ]
    blobs += [(radius, 0.0, height) for radius, height in _PORES_ANGSTROM[kind]]
    subunit = np.array(blobs)  # (20, 3): x outwards, y sideways, z up
    angles = 2 * np.pi * np.arange(7) / 7
    turns = np.stack([_about_z(angle) for angle in angles])  # (7, 3, 3)
    return np.einsum("kij,nj->kni", turns, subunit).reshape(-1, 3)


def _about_z(angle):
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def random_rotations(count, generator):
    """Return rotation matrices (count, 3, 3), uniform over SO(3).

    A Gaussian in four dimensions has no preferred direction, so its direction is a uniform unit
    quaternion (Shoemake, Graphics Gems III, 1992).
    """
    quaternion = generator.standard_normal((count, 4))
    w, x, y, z = (quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def random_centres(count, height_angstrom, width_angstrom, generator):
    """Return `count` centres (y, x) in angstrom, (count, 2), none closer than SPACING_ANGSTROM.

    They are placed one by one where they fit. Raises InputError if no place is left.
    """
    centres = np.empty((0, 2))
    for _ in range(100 * (count + 10)):
        if len(centres) == count:
            return centres
        centre = generator.random(2) * (height_angstrom, width_angstrom)
        if not (np.linalg.norm(centres - centre, axis=1) < SPACING_ANGSTROM).any():
            centres = np.concatenate([centres, centre[None]])
    raise InputError(
        "wrong value for simulation.particles",
        file="config.yaml",
        expected=f"about {len(centres)} or fewer in a micrograph of "
        f"{height_angstrom:.0f} x {width_angstrom:.0f} angstrom",
        found=count,
        advice="use fewer particles or a larger micrograph",
    )


def project(blobs, offset_px, pixel_size_angstrom, side_px):
    """Return the projection along z of blobs of total weight 1, (side_px, side_px) float64.

    `blobs` (n, 3) are (x, y, z) in angstrom about the centre, which is drawn at the middle pixel
    plus `offset_px` (y, x). A 3-D Gaussian projects to the product of two 1-D ones, so the image
    is one matrix product and exact. A pixel averages over its area, which widens each Gaussian
    by pixel^2 / 12; each is then scaled to its weight.
    """
    sigma_px = np.sqrt((BLOB_SIGMA_ANGSTROM / pixel_size_angstrom) ** 2 + 1 / 12)
    grid = np.arange(side_px) - side_px // 2
    profiles = []
    for axis, offset in ((1, offset_px[0]), (0, offset_px[1])):
        centre = blobs[:, axis] / pixel_size_angstrom + offset
        profile = np.exp(-0.5 * ((grid - centre[:, None]) / sigma_px) ** 2)  # (n, side_px)
        profiles.append(profile / profile.sum(axis=1, keepdims=True))
    return profiles[0].T @ profiles[1] / len(blobs)
