"""The blob detector finds blobs of its size, and the score is the area that it should be."""

import numpy as np
import pytest

from clearice.errors import InputError
from clearice.micrographs.centres import centres_text, read_centres
from clearice.validation.evidence import Filters, compare_tiles, ring_sums
from clearice.validation.picking import average_precision, ranked_particles
from memory_images import MemoryRows

CENTRES = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0], [50.0, 50.0]])


@pytest.mark.parametrize(
    ("ranked", "expected"),
    [
        ([0, 1, 2, 3], 1.0),
        ([0, 1], 0.5),
        ([9, 0, 1, 2, 3], 4 / 5),  # the best precision is reached at the end
        ([0, 9, 1], (1 + 2 / 3) / 4),
        ([0, 0, 1], (1 + 2 / 3) / 4),  # a centre is found once
        ([9, 9], 0.0),
    ],
)
def test_average_precision_by_hand(ranked, expected):
    places = {**dict(enumerate(CENTRES)), 9: np.array([25.0, 25.0])}
    particles = np.array([places[i] for i in ranked])
    assert average_precision(particles, CENTRES, 20.0) == pytest.approx(expected)


def test_a_detection_counts_within_three_tenths_of_a_diameter():
    near, far = (np.array([[0.0, distance]]) for distance in (5.9, 6.1))
    assert average_precision(near, CENTRES[:1], 20.0) == 1.0
    assert average_precision(far, CENTRES[:1], 20.0) == 0.0


def test_of_two_close_detections_the_better_one_stays():
    positions = np.array([[0, 0], [0, 4], [0, 30]])
    ranked = ranked_particles(positions, np.array([1.0, 3.0, 2.0]), 20.0)
    assert ranked.tolist() == [[0, 4], [0, 30]]


@pytest.mark.parametrize("sign", [-1, 1])
def test_disks_of_either_sign_are_found_across_the_borders_of_tiles(sign):
    generator = np.random.default_rng(0)
    centres = np.array([[y, x] for y in (30, 94, 640, 1010) for x in (40, 511, 690)], float)
    y, x = np.mgrid[:1040, :720]
    truth = np.zeros(y.shape)
    for centre in centres:
        truth += sign * (np.hypot(y - centre[0], x - centre[1]) < 12)
    noisy = [truth + generator.normal(0, 0.5, y.shape) for _ in range(2)]
    images = {"raw": noisy[0], "denoised": noisy[0], "target": noisy[1], "truth": truth}
    images = {name: MemoryRows(image) for name, image in images.items()}
    filters = {"truth": Filters(ring_sums(images), "truth")}
    _, _, picking = compare_tiles(images, filters, centres, 24.0)
    assert picking["dark_particles"] == (sign == -1)
    assert picking["average_precision"] == dict.fromkeys(("raw", "wiener", "denoised", "truth"), 1)


def test_a_table_of_centres_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text(centres_text(CENTRES + 0.25, 43.333))
    centres, diameter_px = read_centres(path)
    assert centres.tolist() == (CENTRES + 0.25).tolist()
    assert diameter_px == 43.333
    path.write_text(centres_text([], 43.333))
    assert read_centres(path) is None


@pytest.mark.parametrize(
    "text", ["a\tb\n1\t2\n", "y_px\tx_px\tdiameter_px\n1\t2\tx\n", "y_px\n1\n"]
)
def test_another_table_is_an_error_that_names_it(tmp_path, text):
    path = tmp_path / "a.tsv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"a\.tsv: .*not a table of particle centres"):
        read_centres(path)
