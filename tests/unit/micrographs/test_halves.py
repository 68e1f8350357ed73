import dataclasses

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from clearice.errors import InputError
from clearice.micrographs.halves.fit import check_headers
from clearice.micrographs.halves.half_noise import HighFrequencyCorrelation
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.pixels.survey import (
    Survey,
    survey_difference,
    survey_micrograph,
    survey_warnings,
)
from mrc_files import noise_image, write_mrc


def blocks(image, rows=37):
    return (image[first : first + rows].copy() for first in range(0, len(image), rows))


def correlation_of(first, second, rows=37):
    measure = HighFrequencyCorrelation(*first.shape)
    for pair in zip(blocks(first, rows), blocks(second, rows), strict=True):
        measure.add(*pair)
    return measure.result()


def survey_of(first, second):
    survey = survey_micrograph(blocks(first), "a.mrc", first.shape)
    survey.target = survey_micrograph(blocks(second), "b.mrc", second.shape).input
    difference = survey_difference(blocks(first), blocks(second), first.shape)
    survey.difference, survey.pair = difference
    return survey


def warnings_of(first, second, dtype="float32"):
    return survey_warnings(survey_of(first, second), ["a.mrc", "b.mrc"], dtype)


SIGNAL = 20 * gaussian_filter(noise_image(700, 600, 9, mean=0, std=1), 6)  # low frequencies only


def test_halves_with_a_common_signal_and_independent_noise_do_not_correlate():
    first, second = (SIGNAL + noise_image(700, 600, seed) for seed in (1, 2))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.1
    assert abs(correlation_of(first, second)) < 0.02
    assert warnings_of(first, second) == []


def test_the_correlation_is_that_of_the_noise_whatever_the_scale():
    common, first, second = (noise_image(512, 512, seed, std=1) for seed in (1, 2, 3))
    shared = correlation_of(common + first, 5 * (common + second) + 100)
    assert shared == pytest.approx(0.5, abs=0.02)
    assert correlation_of(first, first) == pytest.approx(1)
    assert correlation_of(first, -first) == pytest.approx(-1)


def test_the_correlation_does_not_depend_on_how_rows_arrive():
    first, second = noise_image(530, 300, 1), noise_image(530, 300, 2)
    assert len({correlation_of(first, second, rows) for rows in (1, 64, 300, 530)}) == 1


@pytest.mark.parametrize("shape", [(64, 1000), (1000, 64), (256, 256), (511, 513)])
def test_small_and_narrow_images_are_measured_too(shape):
    common = noise_image(*shape, 0, std=1)
    first, second = (common + noise_image(*shape, seed, std=1) for seed in (1, 2))
    assert correlation_of(first, second) == pytest.approx(0.5, abs=0.1)


def test_shared_noise_is_warned_of():
    common = noise_image(300, 300, 0, std=1)
    first, second = (common + noise_image(300, 300, seed, std=1) for seed in (1, 2))
    (warning,) = warnings_of(first, second)
    assert "not independent: they correlate at 0." in warning


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_one_image_given_twice_is_rejected(scale, shift):
    image = noise_image(128, 128)
    with pytest.raises(InputError, match=r"b.mrc: (the|both) halves are .*even and odd frames"):
        warnings_of(image, scale * image + shift)


def test_halves_on_different_scales_are_warned_of():
    first, second = noise_image(128, 128, 1), noise_image(128, 128, 2)
    for other in (second * 49, second + 100, second * 0.01 + 9.9):
        (warning,) = warnings_of(first, other)
        assert "different scales" in warning


def test_smooth_halves_that_cannot_be_compared_are_warned_of():
    survey = survey_of(noise_image(64, 64, 1), noise_image(64, 64, 2))
    survey.pair = dataclasses.replace(survey.pair, noise_correlation=None)
    assert "nothing above half the Nyquist" in survey_warnings(survey, "ab", "float32")[0]


@pytest.mark.parametrize(("std", "target_std"), [(2, 2), (2, 5), (5, 2)])
def test_the_noise_floor_is_the_variance_of_the_normalised_noise_of_the_target(std, target_std):
    first = SIGNAL + noise_image(700, 600, 1, std=std)
    second = SIGNAL + noise_image(700, 600, 2, std=target_std)
    survey = survey_of(first, second)
    assert survey.noise_floor == pytest.approx(target_std**2 / survey.input.scale**2, rel=0.03)
    assert Survey(survey.input).noise_floor is None


def test_float16_refuses_what_it_cannot_hold():
    image = noise_image(64, 64, 1)
    other = noise_image(64, 64, 2)
    other[3, 3] = 1e6
    assert warnings_of(image, other, "float32") == []
    with pytest.raises(InputError, match=r"b.mrc: a normalised pixel does not fit float16"):
        warnings_of(image, other, "float16")


def test_headers_must_agree(tmp_path):
    image = noise_image(20, 30)
    readers = {
        name: open_micrograph(write_mrc(tmp_path / f"{name}.mrc", pixels, **words))
        for name, pixels, words in [
            ("a", image, {}),
            ("same", image, {"cell_x": 45.00001}),
            ("small", image[:10], {}),
            ("coarse", image, {"cell_x": 60.0, "cell_y": 48.0}),
            ("none", image, {"cell_x": 0.0}),
        ]
    }
    assert check_headers(readers["a"], readers["same"]) == []
    assert check_headers(readers["a"], readers["none"]) == ["only one half gives a pixel size"]
    assert check_headers(readers["none"], readers["none"]) == []
    with pytest.raises(InputError, match="differ in shape: expected 20 x 30 px"):
        check_headers(readers["a"], readers["small"])
    with pytest.raises(InputError, match=r"differ in pixel size: expected 1.5 angstrom.*found 2"):
        check_headers(readers["a"], readers["coarse"])


def test_real_half_sets_are_independent(real_data):
    folder = real_data / "empiar-10146"
    for frame in sorted(folder.glob("*_frame.mrc"))[:3]:
        rest = frame.with_name(frame.name.replace("_frame", "_rest"))
        with open_micrograph(frame) as first, open_micrograph(rest) as second:
            assert check_headers(first, second) == []
            pair = [half.read_rows(0, half.height_px) for half in (first, second)]
        assert warnings_of(*pair) == []
        assert abs(correlation_of(*pair)) < 0.02
