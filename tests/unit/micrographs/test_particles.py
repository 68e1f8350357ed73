"""The model proteasome: its symmetry, size and chambers; projections that lose no mass."""

import numpy as np
import pytest

from clearice.errors import InputError
from clearice.micrographs.simulation.particles import (
    BLOB_SIGMA_ANGSTROM,
    RADIUS_ANGSTROM,
    SPACING_ANGSTROM,
    project,
    proteasome,
    random_centres,
    random_rotations,
)

UPRIGHT = np.eye(3)
ON_ITS_SIDE = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # the sevenfold axis along x


def about_z(angle):
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def largest_gap(blobs, others):
    """Return the largest distance (angstrom) of a blob to the nearest of the others."""
    distances = np.linalg.norm(blobs[:, None] - others[None], axis=2)
    return distances.min(axis=1).max()


@pytest.fixture(scope="module")
def blobs():
    return proteasome()


def density(blobs, points):
    """Return the density at points (n, 3), in fractions of the total mass per angstrom^3."""
    squared = np.square(points[:, None] - blobs[None]).sum(axis=2)
    gaussians = np.exp(-0.5 * squared / BLOB_SIGMA_ANGSTROM**2)
    return gaussians.sum(axis=1) / len(blobs) / (2 * np.pi * BLOB_SIGMA_ANGSTROM**2) ** 1.5


def test_d7_symmetry_and_no_more(blobs):
    assert largest_gap(blobs @ about_z(2 * np.pi / 7).T, blobs) < 1e-9
    assert largest_gap(blobs * (1, -1, -1), blobs) < 1e-9  # a twofold axis along x
    assert largest_gap(blobs @ about_z(np.pi / 7).T, blobs) > 3
    assert largest_gap(blobs @ about_z(np.pi).T, blobs) > 3
    assert largest_gap(blobs * (1, 1, -1), blobs) > 1  # chiral: no mirror plane


def test_four_rings_of_seven_subunits(blobs):
    rings, counts = np.unique(np.floor(blobs[:, 2] / 37.0), return_counts=True)
    assert rings.tolist() == [-2, -1, 0, 1]
    assert (counts == len(blobs) // 4).all()
    assert len(blobs) % 28 == 0


def test_size_is_148_by_113_angstrom_at_half_the_density(blobs):
    def extent_angstrom(profile):
        return np.ptp(
            np.flatnonzero(profile > np.median(profile[profile > 0.3 * profile.max()]) / 2)
        )

    lengthwise = project(blobs @ ON_ITS_SIDE.T, (0, 0), 1.0, 201).sum(axis=0)
    assert extent_angstrom(lengthwise) == pytest.approx(148, rel=0.03)
    from_above = project(blobs, (0, 0), 1.0, 201)
    y, x = np.mgrid[-100:101, -100:101]
    radius = np.hypot(y, x).astype(int)
    around = np.bincount(radius.ravel(), from_above.ravel()) / np.bincount(radius.ravel())
    outer_radius = np.flatnonzero(around > np.median(around[30:50]) / 2)[-1]
    assert 2 * outer_radius == pytest.approx(113, rel=0.03)


def test_three_chambers_joined_by_narrow_pores(blobs):
    """Within 10 angstrom of the axis: nothing in the chambers, something around the pores."""
    angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)

    def around_axis(radius, height):
        ring = [radius * np.cos(angles), radius * np.sin(angles), np.full(28, height)]
        return density(blobs, np.stack(ring, axis=1)).mean()

    wall = around_axis(39.5, 18.5)
    for chamber_height in (-45.0, 0.0, 45.0):
        assert around_axis(10, chamber_height) < 0.05 * wall
    for pore_height in (-66.0, 66.0):
        assert around_axis(14, pore_height) > 0.3 * wall
        assert around_axis(0, pore_height) < 0.3 * wall  # open in the middle


def test_density_is_that_of_protein(blobs):
    """673 kDa spread so that no place is denser than half as much again as protein is."""
    from clearice.micrographs.simulation.exposure import PROTEIN_ANGSTROM3_PER_DALTON
    from clearice.micrographs.simulation.particles import MASS_DALTON

    volume = MASS_DALTON * PROTEIN_ANGSTROM3_PER_DALTON
    packed = density(blobs, blobs) * volume  # 1 where the density is that of pure protein
    assert packed.max() < 1.6
    assert 0.7 < packed.mean() < 1.2


@pytest.mark.parametrize("pixel_size_angstrom", [0.66, 1.5, 3.0, 10.0, 20.0])
@pytest.mark.parametrize("offset_px", [(0, 0), (0.5, 0.25)])
def test_projections_keep_the_mass_at_any_orientation_and_pixel(
    blobs, pixel_size_angstrom, offset_px
):
    side_px = 2 * int(np.ceil(RADIUS_ANGSTROM / pixel_size_angstrom)) + 1
    for rotation in random_rotations(3, np.random.default_rng(1)):
        image = project(blobs @ rotation.T, offset_px, pixel_size_angstrom, side_px)
        assert image.sum() == pytest.approx(1, rel=1e-9)
        assert image.min() >= 0


def test_a_projection_is_the_sum_of_the_density_along_z(blobs):
    rotation = random_rotations(1, np.random.default_rng(2))[0]
    turned = blobs @ rotation.T
    image = project(turned, (0, 0), 2.0, 101)
    z = np.arange(-100, 100.1, 2.0)
    for row, column in ((50, 50), (40, 63), (58, 31), (30, 50)):
        y, x = (row - 50) * 2.0, (column - 50) * 2.0
        points = np.stack([np.full_like(z, x), np.full_like(z, y), z], axis=1)
        summed = density(turned, points).sum() * 2.0 * 2.0**2  # dz times the pixel's area
        assert image[row, column] == pytest.approx(summed, rel=0.05, abs=2e-6)


def test_an_offset_moves_the_projection(blobs):
    image = project(blobs, (0, 0), 3.0, 81)
    moved = project(blobs, (2, -3), 3.0, 81)
    np.testing.assert_allclose(moved, np.roll(image, (2, -3), axis=(0, 1)), atol=1e-12)


def test_opposite_views_are_mirror_images(blobs):
    rotation = random_rotations(1, np.random.default_rng(3))[0]
    front = project(blobs @ rotation.T, (0, 0), 3.0, 81)
    back = project(blobs @ rotation.T * (-1, 1, -1), (0, 0), 3.0, 81)
    np.testing.assert_allclose(back, front[:, ::-1], atol=1e-12)


def test_rotations_are_uniform_over_so3():
    rotations = random_rotations(20_000, np.random.default_rng(4))
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1),
        np.broadcast_to(UPRIGHT, (20_000, 3, 3)),
        atol=1e-9,
    )
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    np.testing.assert_allclose(rotations.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(np.square(rotations).mean(axis=0), 1 / 3, atol=0.02)
    # Archimedes: each coordinate of a uniform direction is uniform in [-1, 1].
    quantiles = np.quantile(rotations[:, 2, 2], np.linspace(0, 1, 11))
    np.testing.assert_allclose(quantiles, np.linspace(-1, 1, 11), atol=0.03)
    # The angle of a uniform rotation has the density (1 - cos angle) / pi: its mean cosine is -1/2.
    cosine = (np.trace(rotations, axis1=1, axis2=2) - 1) / 2
    assert cosine.mean() == pytest.approx(-0.5, abs=0.02)


def test_particles_never_overlap_and_stay_in_the_micrograph():
    centres = random_centres(60, 3072, 2000, np.random.default_rng(5))
    assert centres.shape == (60, 2)
    assert (centres >= 0).all()
    assert (centres <= (3072, 2000)).all()
    distances = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    assert distances[~np.eye(60, dtype=bool)].min() >= SPACING_ANGSTROM


def test_more_particles_than_fit_is_the_users_mistake():
    with pytest.raises(InputError, match=r"simulation\.particles.* found 60"):
        random_centres(60, 500, 500, np.random.default_rng(6))
