"""The simulated specimens that denoisers are compared on: physics, and the score."""

import numpy as np
import pytest
from scipy import ndimage

from conftest import REPOSITORY

SIZE_PX = 512


@pytest.fixture
def specimens(monkeypatch):
    """The module benchmarks/specimens.py."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import specimens

    return specimens


def test_the_same_arguments_give_the_same_image_and_another_seed_another(specimens):
    first, again = (specimens.specimen("proteasome", 3, SIZE_PX) for _ in range(2))
    other = specimens.specimen("proteasome", 4, SIZE_PX)
    np.testing.assert_array_equal(first.even, again.even)
    np.testing.assert_array_equal(first.centres_px, again.centres_px)
    assert abs(np.corrcoef(first.truth.ravel(), other.truth.ravel())[0, 1]) < 0.2


def test_every_specimen_has_its_signal_and_independent_halves(specimens):
    for name, recipe in specimens.RECIPES.items():
        made = specimens.specimen(name, 1, SIZE_PX)
        even, odd = ((half - made.truth)[made.judged] for half in (made.even, made.odd))
        assert abs(np.corrcoef(even, odd)[0, 1]) < 0.02, name
        signal = made.signal[made.judged].std() ** 2 / even.std() ** 2
        assert signal == pytest.approx(recipe.signal_to_noise, rel=0.35), name
        assert len(made.centres_px) > 0, name
        np.testing.assert_allclose(made.signal + made.background, made.truth, atol=1e-3)


def test_noise_of_a_counting_camera_is_white_and_of_an_integrating_one_is_not(specimens):
    for name, white in (("proteasome", True), ("capsid", True), ("ribosome", False)):
        made = specimens.specimen(name, 1, SIZE_PX)
        noise = made.even - made.truth
        neighbours = np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]
        assert (abs(neighbours) < 0.01) == white, name
        assert white or neighbours > 0.3, name


def test_particles_are_dark_where_their_centres_are(specimens):
    for name in specimens.SPECIMENS:
        made = specimens.specimen(name, 1, 1024)
        particle = ndimage.gaussian_filter(made.signal, made.diameter_px / 4)
        y, x = np.floor(made.centres_px).astype(int).T
        assert particle[y, x].mean() < particle.mean() - 0.8 * particle.std(), name


def test_the_crystal_changes_nothing_else(specimens):
    plain, crystal = (specimens.specimen(n, 1, 1024) for n in ("proteasome", "crystal"))
    np.testing.assert_allclose(
        plain.truth[crystal.judged], crystal.truth[crystal.judged], atol=1e-3
    )
    assert crystal.truth.min() < -10 * (crystal.even - crystal.truth).std()


def test_the_score_of_the_raw_image_follows_from_its_variances(specimens):
    made = specimens.specimen("proteasome", 1, SIZE_PX)
    ratio = made.signal.var() / (made.even - made.truth).var()
    expected = -10 * np.log10(1 - ratio / (1 + ratio))
    assert specimens.snr_db(made, made.even) == pytest.approx(expected, abs=0.05)
    assert specimens.snr_db(made, 5 - 3 * made.signal) > 60
    assert specimens.snr_db(made, made.odd - made.truth) < 0.05


def test_a_gradient_counts_neither_for_nor_against(specimens):
    made = specimens.specimen("capsid", 1, SIZE_PX)
    clean = specimens.snr_db(made, made.even)
    ice = made.background - made.background.mean()
    assert ice.std() > 0.1 * made.signal.std()
    assert specimens.snr_db(made, made.even + 20 * ice) == pytest.approx(clean, abs=1e-3)
