"""Simulated micrographs: counting statistics, CTF zeros, contrast, and the same bytes again."""

import hashlib

import numpy as np
import pytest

import simulate_micrograph
from clearice.micrographs.mrc import open_micrograph, read_micrograph
from clearice.micrographs.simulation import exposure
from clearice.micrographs.simulation.exposure import simulate
from clearice.micrographs.simulation.optics import contrast_transfer, electron_wavelength_angstrom
from clearice.micrographs.simulation.particles import (
    MASS_DALTON,
    project,
    proteasome,
    random_rotations,
)

SETTINGS = {
    "height_px": 320,
    "width_px": 384,
    "pixel_size_angstrom": 3.0,
    "particles": 12,
    "voltage_kv": 300,
    "spherical_aberration_mm": 2.7,
    "amplitude_contrast": 0.1,
    "defocus_um": [1.2, 2.5],
    "dose_e_per_a2": 40,
    "ice_thickness_nm": [20, 60],
    "seed": 0,
}
FLAT = {**SETTINGS, "ice_thickness_nm": [30, 30]}


@pytest.fixture(scope="module")
def micrograph():
    return simulate(SETTINGS, "sim_0001")


def digest(micrograph):
    arrays = (micrograph.even, micrograph.odd, micrograph.truth)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def test_shapes_and_types(micrograph):
    for image in (micrograph.even, micrograph.odd, micrograph.truth):
        assert image.shape == (320, 384)
        assert image.dtype == np.float32
    assert 1.2 <= micrograph.defocus_um <= 2.5
    assert (micrograph.even == np.round(micrograph.even)).all()  # whole electrons
    assert not (micrograph.truth == np.round(micrograph.truth)).all()


def test_seed_and_name_fix_every_byte_whatever_was_made_before(micrograph):
    wanted = digest(micrograph)
    simulate(SETTINGS, "sim_0002")
    assert digest(simulate(SETTINGS, "sim_0001")) == wanted
    assert digest(simulate(SETTINGS, "sim_0002")) != wanted
    assert digest(simulate({**SETTINGS, "seed": 1}, "sim_0001")) != wanted


def test_another_dose_leaves_particles_and_defocus_where_they_were(micrograph):
    double = simulate({**SETTINGS, "dose_e_per_a2": 80}, "sim_0001")
    assert double.defocus_um == micrograph.defocus_um
    np.testing.assert_allclose(double.truth, 2 * micrograph.truth, rtol=1e-6)


def test_defocus_is_drawn_from_the_whole_range():
    drawn = [
        simulate({**FLAT, "height_px": 64, "width_px": 64, "particles": 0}, f"m{n}").defocus_um
        for n in range(60)
    ]
    assert min(drawn) == pytest.approx(1.2, abs=0.15)
    assert max(drawn) == pytest.approx(2.5, abs=0.15)
    assert np.mean(drawn) == pytest.approx(1.85, abs=0.2)


def test_both_halves_count_half_of_the_dose_through_the_ice():
    flat = simulate({**FLAT, "particles": 0}, "empty")
    wanted = 40 / 2 * 3.0**2 * np.exp(-30 / exposure.MEAN_FREE_PATH_NM)
    np.testing.assert_allclose(flat.truth, wanted, rtol=1e-5)
    for half in (flat.even, flat.odd):
        assert half.mean() == pytest.approx(wanted, abs=4 * np.sqrt(wanted / half.size))


@pytest.mark.parametrize("dose_e_per_a2", [0.2, 4, 40])
def test_electrons_are_counted_so_the_variance_is_the_mean(dose_e_per_a2):
    flat = simulate({**FLAT, "particles": 0, "dose_e_per_a2": dose_e_per_a2}, "empty")
    for half in (flat.even, flat.odd):
        assert half.var() / half.mean() == pytest.approx(1, abs=0.025)


def test_noise_has_the_variance_of_the_truth_where_particles_are_too(micrograph):
    for half in (micrograph.even, micrograph.odd):
        standardised = (half - micrograph.truth) / np.sqrt(micrograph.truth)
        assert standardised.mean() == pytest.approx(0, abs=4 / np.sqrt(half.size))
        assert standardised.var() == pytest.approx(1, abs=0.025)
        dark = micrograph.truth < np.quantile(micrograph.truth, 0.05)
        assert standardised[dark].mean() == pytest.approx(0, abs=4 / np.sqrt(dark.sum()))


def test_noise_of_the_halves_is_independent_and_white(micrograph):
    even, odd = (half - micrograph.truth for half in (micrograph.even, micrograph.odd))
    bound = 4 / np.sqrt(even.size)
    assert abs(np.corrcoef(even.ravel(), odd.ravel())[0, 1]) < bound
    assert abs(np.corrcoef(even[:, 1:].ravel(), even[:, :-1].ravel())[0, 1]) < bound
    assert abs(np.corrcoef(even[1:].ravel(), even[:-1].ravel())[0, 1]) < bound


def test_noise_of_another_micrograph_is_independent(micrograph):
    other = simulate(SETTINGS, "sim_0002")
    noise = (micrograph.even - micrograph.truth).ravel()
    for half in (other.even, other.odd):
        assert abs(np.corrcoef(noise, (half - other.truth).ravel())[0, 1]) < 4 / np.sqrt(noise.size)


def test_particles_are_in_the_halves_but_weaker_than_the_noise():
    flat = simulate({**FLAT, "particles": 16}, "sim_0001")
    signal = flat.truth.astype(np.float64) - flat.truth.mean()
    snr = signal.var() / flat.truth.mean()
    assert 0.02 < snr < 0.3
    correlation = np.corrcoef(flat.even.ravel(), flat.odd.ravel())[0, 1]
    assert correlation == pytest.approx(snr / (1 + snr), rel=0.25)


def test_particles_are_dark_at_underfocus():
    flat = simulate({**FLAT, "particles": 12}, "sim_0001")
    background = 40 / 2 * 9 * np.exp(-30 / exposure.MEAN_FREE_PATH_NM)
    contrast = flat.truth / background - 1
    assert contrast.min() < -0.08
    assert contrast.min() > -0.5
    assert contrast.max() < -contrast.min()


def test_the_image_has_no_power_where_the_ctf_is_zero():
    settings = {**FLAT, "height_px": 720, "width_px": 720, "particles": 40, "defocus_um": [2, 2]}
    truth = simulate(settings, "sim_0001").truth.astype(np.float64)
    window = np.hanning(720)[:, None] * np.hanning(720)[None, :]
    power = np.abs(np.fft.rfft2((truth - truth.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(720, 3.0)[:, None], np.fft.rfftfreq(720, 3.0)[None, :])
    wavelength, phase = electron_wavelength_angstrom(300), np.arcsin(0.1)

    def mean_power(order):
        """Around the frequency where chi + asin(A) is `order` times pi (Cs apart: 1 % here)."""
        at = np.sqrt((order - phase / np.pi) / (wavelength * 2e4))
        exact = np.linspace(0.95 * at, 1.05 * at, 1001)
        values = contrast_transfer(
            exact,
            defocus_um=2,
            voltage_kv=300,
            spherical_aberration_mm=2.7,
            amplitude_contrast=0.1,
        )
        if order % 1 == 0:
            at = exact[np.abs(values).argmin()]
        return power[np.abs(frequency - at) < 0.0007].mean()

    for order in (1, 2, 3):
        assert mean_power(order) < 0.15 * min(mean_power(order - 0.5), mean_power(order + 0.5))


def test_a_particle_shifts_phase_weakly_and_by_its_mass():
    weight = exposure.particle_phase_rad_angstrom2(300)
    # 6.53e-4 rad / (V angstrom) * 3.2 V * 673 kDa * 1.21 angstrom^3 / Da
    assert weight == pytest.approx(6.53e-4 * 3.2 * 673_000 * 1.21, rel=1e-3)
    for rotation in [np.eye(3), *random_rotations(10, np.random.default_rng(0))]:
        phase = weight / 3.0**2 * project(proteasome() @ rotation.T, (0, 0), 3.0, 81)
        assert 0.1 < phase.max() < 0.35
        assert phase.sum() * 3.0**2 == pytest.approx(weight)


def test_the_excess_potential_follows_from_atoms_and_densities():
    """Forward scattering amplitudes (angstrom) of Doyle & Turner (1968) for isolated atoms."""
    amplitude = {"H": 0.529, "C": 2.509, "N": 2.211, "O": 1.983, "S": 5.161}
    volt_angstrom2 = 47.878  # h^2 / (2 pi m e)

    def potential_v(atoms, mass_dalton, density_g_per_cm3):
        volume_angstrom3 = mass_dalton / (0.60221 * density_g_per_cm3)
        return volt_angstrom2 * sum(amplitude[a] * n for a, n in atoms.items()) / volume_angstrom3

    ice = potential_v({"H": 2, "O": 1}, 18.015, 0.93)
    residue = {"C": 4.9, "H": 7.8, "N": 1.35, "O": 1.5, "S": 0.04}  # the average amino acid
    protein = potential_v(residue, 110.9, 1.35)
    assert ice == pytest.approx(4.5, abs=0.05)
    assert protein == pytest.approx(7.9, abs=0.1)
    assert 0.85 * (protein - ice) < exposure.EXCESS_POTENTIAL_V < protein - ice
    assert pytest.approx(673) == MASS_DALTON * 1e-3


def test_thicker_ice_lets_fewer_electrons_through():
    ice = exposure.transmission(SETTINGS, np.random.default_rng(0))
    assert ice.max() == pytest.approx(np.exp(-20 / 395), rel=1e-3)
    assert ice.min() == pytest.approx(np.exp(-60 / 395), rel=1e-3)
    middle = ice[160, 192]
    assert middle == pytest.approx(np.exp(-40 / 395), rel=1e-3)


def test_the_opposite_border_does_not_shine_through(monkeypatch):
    """A particle on a border: the same image with three times the margin."""

    def corner(count, height, width, generator):
        return np.array([[0.0, 0.0], [height, 0.6 * width]])[:count]

    monkeypatch.setattr(exposure, "random_centres", corner)
    settings = {**FLAT, "particles": 2, "defocus_um": [2.5, 2.5]}
    narrow = simulate(settings, "sim_0001").truth
    margin = exposure.margin_px
    monkeypatch.setattr(exposure, "margin_px", lambda *arguments: 3 * margin(*arguments))
    wide = simulate(settings, "sim_0001").truth
    assert np.ptp(wide) > 0.1 * wide.mean()
    np.testing.assert_allclose(narrow, wide, atol=2e-3 * np.ptp(wide))


@pytest.mark.parametrize("length_px", [1, 7, 97, 1024, 1153, 7676])
def test_fast_lengths_have_small_factors_and_waste_little(length_px):
    found = exposure.fast_length(length_px)
    assert length_px <= found <= 1.15 * length_px + 1
    for prime in (2, 3, 5):
        while found % prime == 0:
            found //= prime
    assert found == 1


def test_the_script_writes_three_files_in_one_scale_and_the_same_bytes_again(tmp_path):
    names = ("EVN", "ODD", "truth")
    for run in ("first", "second"):
        paths = [str(tmp_path / f"{run}_{name}.mrc") for name in names]
        paths.append(tmp_path / f"{run}.tsv")
        simulate_micrograph.simulate_micrograph(*paths, name="sim_0001", settings=SETTINGS)
    assert (tmp_path / "first.tsv").read_bytes() == (tmp_path / "second.tsv").read_bytes()
    for name in names:
        first, second = (tmp_path / f"{run}_{name}.mrc" for run in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
        with open_micrograph(first) as micrograph:
            assert (micrograph.height_px, micrograph.width_px) == (320, 384)
            assert micrograph.pixel_size_angstrom == pytest.approx(3.0)
            assert micrograph.warnings == []
    even, odd, truth = (read_micrograph(tmp_path / f"first_{name}.mrc") for name in names)
    assert even.mean() == pytest.approx(truth.mean(), rel=5e-3)
    assert odd.mean() == pytest.approx(truth.mean(), rel=5e-3)
