"""Pairs that are no pairs are told from pairs, whatever they show, and nothing else is rejected."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from clearice.config import complete_config
from clearice.errors import InputError
from clearice.micrographs import checks
from clearice.micrographs.halves.pairs import judge_pair, measure_pair
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.simulation.exposure import simulate

PATHS = ["a_EVN.mrc", "a_ODD.mrc"]


def blocks(image, rows=61):
    return (image[first : first + rows].astype(np.float32) for first in range(0, len(image), rows))


def pair_of(first, second):
    return measure_pair(blocks(first), blocks(second), first.shape)


def judged(first, second):
    """Return the warnings, or the line of the rejection."""
    try:
        return judge_pair(pair_of(first, second), PATHS)
    except InputError as error:
        return str(error)


def scene(seed, shape=(512, 512), size_px=9.0, contrast=2.0):
    """Return dark blobs on 0, with that contrast in noise levels, float64."""
    generator, image = np.random.default_rng(seed), np.zeros(shape)
    rows, columns = (generator.integers(0, side, 40) for side in shape)
    image[rows, columns] = -1
    return contrast * gaussian_filter(image, size_px) * (2 * np.pi * size_px**2)


def noise(seed, shape=(512, 512)):
    return np.random.default_rng(1000 + seed).normal(size=shape)


def pair(seed=0, **words):
    image = scene(seed, **words)
    return image + noise(2 * seed, image.shape), image + noise(2 * seed + 1, image.shape)


WRONG = {
    "inverted contrast": (lambda half: -half, "inverted contrast.*multiply it by -1"),
    "inverted, on an offset": (lambda half: 100 - half, "inverted contrast"),
    "flipped up": (lambda half: half[::-1], "flipped top to bottom.*reverse the order of its rows"),
    "flipped aside": (lambda half: half[:, ::-1], "flipped left to right"),
    "half a turn": (lambda half: half[::-1, ::-1], "rotated by 180 degrees"),
    "a quarter": (np.rot90, "rotated by 90 degrees.*exchange its rows and columns"),
    "three quarters": (lambda half: np.rot90(half, 3), "rotated by 90 degrees"),
    "transposed": (np.transpose, "transposed"),
    "both": (lambda half: np.rot90(half, 2).T, "transposed and rotated"),
    "flipped and inverted": (lambda half: -half[::-1], "flipped.*and multiply it by -1"),
    "cut elsewhere": (lambda half: np.roll(half, (60, -90), (0, 1)), "different parts"),
    "another": (lambda half: scene(7) + noise(99), "do not show the same scene"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("scale", [1.0, 49.0])
def test_a_half_that_is_not_the_other_one_is_rejected_with_the_way_out(case, scale):
    change, message = WRONG[case]
    first, second = pair()
    assert judged(first, scale * second) == []
    with pytest.raises(InputError, match=r"^a_ODD.mrc: .*" + message):
        judge_pair(pair_of(first, scale * change(second)), PATHS)


@pytest.mark.parametrize("case", WRONG)
def test_what_the_message_advises_makes_a_pair(case):
    change, _ = WRONG[case]
    first, second = pair()
    changed = change(second)
    with pytest.raises(InputError) as raised:
        judge_pair(pair_of(first, changed), PATHS)
    advice = raised.value.advice
    if "exchange its rows and columns" in advice:
        changed = changed.T
    if "order of its rows" in advice or "order of the rows" in advice or "order of both" in advice:
        changed = changed[::-1]
    if "columns" in advice.split("reverse")[-1] or "order of both" in advice:
        changed = changed[:, ::-1] if "reverse" in advice else changed
    if "multiply it by -1" in advice:
        changed = -changed
    unchanged = case in ("cut elsewhere", "another")
    assert (judged(first, changed) != []) == unchanged


def test_the_shift_is_that_of_the_scene():
    first, second = pair(size_px=3.0)
    moved = pair_of(first, np.roll(second, (20, -33), (0, 1))).signal.movement
    assert (moved.down_px, moved.right_px) == pytest.approx((20, -33), abs=1)
    near = pair_of(first, np.roll(second, (-6, 3), (0, 1)))
    assert near.signal.movement.down_px == pytest.approx(-6, abs=0.5)
    (warning,) = judge_pair(near, PATHS)
    assert "7 px apart" in warning
    assert judged(first, np.roll(second, 2, 0)) == []


@pytest.mark.parametrize("shape", [(300, 700), (1100, 512), (1025, 1025)])
@pytest.mark.parametrize("angle", [0, 2])
def test_sides_of_any_length_are_compared(shape, angle):
    first, second = pair(shape=shape)
    found = judged(first, np.rot90(second, angle))
    assert "rotated by 180 degrees" in found if angle else found == []


def test_where_nothing_can_be_told_nothing_is_said():
    for seed in range(5):
        first, second = noise(seed), noise(seed + 50)
        for other in (second, -second, second[::-1]):
            pair_ = pair_of(first, other)
            assert judge_pair(pair_, PATHS) == []
            assert pair_.numbers()["foreign_half"] is None


@pytest.mark.parametrize("sigma_px", [0.5, 1.0, 3.0])
def test_filtered_noise_without_signal_is_no_scene(sigma_px):
    first, second = (gaussian_filter(noise(seed), sigma_px) for seed in (0, 1))
    assert pair_of(first, second).numbers()["foreign_half"] is None
    assert judged(first, second) == []


def test_a_background_that_all_micrographs_of_a_session_share_makes_no_pair():
    rows, columns = np.mgrid[:512, :512] / 512 - 0.5
    background = 20 * rows - 10 * columns - 30 * rows**2 + 5
    first, second = scene(0) + noise(0) + background, scene(1) + noise(1) + background
    assert "do not show the same scene" in judged(first, second)
    inverted = background - scene(0) + noise(1)
    assert "inverted contrast" in judged(first, inverted)
    assert judged(first, scene(0) + noise(1) - background) == []


def test_gold_and_a_dark_border_in_both_do_not_hide_it():
    first, second = pair(shape=(1024, 1024))
    second = -second
    for half in (first, second):
        half[:, :40] -= 30
        half[300:310, 300:310] += 500
    assert "inverted contrast" in judged(first, second)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("strength", "said"), [(0.3, True), (0.01, False)])
def test_stripes_that_both_halves_share_are_warned_of(axis, strength, said):
    first, second = pair()
    stripes = strength * np.random.default_rng(3).normal(size=512)
    stripes = np.expand_dims(stripes, axis)
    warnings = judged(first + stripes, second + stripes)
    assert any("share stripes of 0." in warning for warning in warnings) == said
    assert judged(first + stripes, second) == []
    measured = pair_of(first + stripes, second + stripes).stripes
    assert measured == pytest.approx(strength if said else 0, rel=0.2)


def test_a_half_that_was_denoised_is_warned_of():
    first, second = pair()
    assert any("filtered differently" in text for text in judged(first, gaussian_filter(second, 1)))


def test_shared_frames_are_warned_of_and_one_image_is_rejected():
    first, second = pair()
    average = (first + second) / 2
    (warning,) = judged(first, average)
    assert "the noise of the halves is not independent" in warning
    assert "both halves are the same image" in judged(first, 3 * first + 5)


def test_the_numbers_are_those_of_the_table_of_checks():
    numbers = pair_of(*pair()).numbers()
    assert set(numbers) <= {check.name for check in checks.CHECKS}
    for check in checks.CHECKS:
        if check.name in numbers:
            assert checks.severity(check, numbers[check.name]) < 1


SIMULATION = complete_config({})["simulation"]


@pytest.mark.parametrize("pixel_size_angstrom", [0.7, 2.0, 5.0])
@pytest.mark.parametrize("dose_e_per_a2", [1, 8, 80])
@pytest.mark.parametrize("particles", [0, 30])
def test_simulated_pairs_are_accepted_whatever_the_dose(
    pixel_size_angstrom, dose_e_per_a2, particles
):
    settings = {
        **SIMULATION,
        "pixel_size_angstrom": pixel_size_angstrom,
        "dose_e_per_a2": dose_e_per_a2,
        "particles": min(particles, 5) if pixel_size_angstrom < 1 else particles,
        "height_px": 512,
        "width_px": 640,
    }
    simulated = simulate(settings, f"m{pixel_size_angstrom}")
    assert judged(simulated.even, simulated.odd) == []
    if particles and dose_e_per_a2 >= 8 and pixel_size_angstrom >= 2:  # else too little signal
        assert "inverted contrast" in judged(simulated.even, -simulated.odd)
        assert "flipped left to right" in judged(simulated.even, simulated.odd[:, ::-1])
        other = simulate(settings, "another")
        found = pair_of(simulated.even, other.odd)
        assert found.is_foreign() or found.numbers()["foreign_half"] is None


def test_real_pairs_are_accepted_and_exchanged_ones_are_not(real_data):
    pairs = []
    for frame in sorted((real_data / "empiar-10146").glob("*_frame.mrc")):
        rest = frame.with_name(frame.name.replace("_frame", "_rest"))
        with open_micrograph(frame) as first, open_micrograph(rest) as second:
            pairs.append([half.read_rows(0, half.height_px).copy() for half in (first, second)])
    for (frame, rest), (_, other) in zip(pairs, pairs[1:] + pairs[:1], strict=True):
        assert judged(frame, rest) == []
        assert "do not show the same scene" in judged(frame, other)
        assert "inverted contrast" in judged(rest, -frame)
        assert "flipped" in judged(frame, rest[::-1])
