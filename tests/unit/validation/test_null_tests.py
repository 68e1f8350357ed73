"""The null tests tell an honest denoiser from one that draws what is not there."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from affine import affine_of
from clearice.config import complete_config
from clearice.micrographs.simulation.exposure import simulate
from clearice.model.networks import SimpleCNN
from clearice.validation import null_tests
from clearice.validation.evidence import Filters, ring_sums
from clearice.validation.images import network_output
from clearice.validation.planes import CrossPlane, GridPlane
from clearice.validation.record import measure
from known_denoisers import (
    Constant,
    Convolution,
    Gridded,
    Hallucinator,
    Identity,
    ShortSighted,
    kernel_of,
)
from memory_images import MemoryRows

SIDE_PX = 768
SETTINGS = {
    **complete_config({})["simulation"],
    "height_px": SIDE_PX,
    "width_px": SIDE_PX,
    "particles": 34,
    "defocus_um": [1.5, 1.5],  # a filter of one micrograph fits the other
}
NAMES = {"flatness", "noise response", "shuffled pairs", "calibration", "seams", "grid"}


def normalised(image, like=None):
    """Return an image as a network sees it, by the affine of `like`."""
    location, scale = affine_of(image if like is None else like)
    return ((image - location) / scale).astype(np.float32)


def wiener_network(simulated):
    """Return the Wiener filter of one micrograph as a network, for others."""
    images = {"raw": MemoryRows(simulated.even), "target": MemoryRows(simulated.odd)}
    filters = Filters(ring_sums({**images, "denoised": images["raw"]}), "target")
    return Convolution(kernel_of(filters.wiener, filters.frequency_per_px))


@pytest.fixture(scope="module")
def simulated():
    """Two micrographs: one to fit a filter to, and one that is held out."""
    return [simulate(SETTINGS, name) for name in ("a", "b")]


def record_of(network, simulated, halves=True):
    """Return what is measured on a simulated micrograph, with or without its other half."""
    images = {"raw": MemoryRows(simulated.even)}
    if halves:
        images |= {"target": MemoryRows(simulated.odd), "truth": MemoryRows(simulated.truth)}
    for half, name in (("raw", "denoised"), ("target", "denoised_target")):
        if half in images:
            image = images[half].image
            location, scale = affine_of(image)
            output = network_output(network, normalised(image), "cpu")
            images[name] = MemoryRows(output * scale + location)
    return measure(network, images, (simulated.centres_px, 130 / 3), "cpu")


def failed(record):
    """Return the names of the null tests that failed."""
    assert {test["name"] for test in record["null_tests"]} == NAMES
    return {test["name"] for test in record["null_tests"] if test["passed"] is False}


@pytest.fixture(scope="module")
def wiener(simulated):
    """A filter fitted to another micrograph: no better linear denoiser can be had."""
    return wiener_network(simulated[0])


@pytest.fixture(scope="module")
def wiener_record(simulated, wiener):
    """What is measured of it."""
    return record_of(wiener, simulated[1])


def test_an_honest_denoiser_passes_every_test(wiener_record):
    assert failed(wiener_record) == set()
    assert all(test["passed"] for test in wiener_record["null_tests"])


def test_a_linear_denoiser_is_as_good_as_the_best_linear_filter(wiener_record):
    for evidence in (wiener_record["target"], wiener_record["truth"]):
        assert evidence["gain_over_linear_db"] == pytest.approx(0, abs=1.0)
    kept = [k for k in wiener_record["target"]["transfer"][3:12] if k is not None]
    assert 0.6 < np.mean(kept) < 1.2
    frc = wiener_record["frc"]
    assert frc["denoised_target"][3:12] == pytest.approx(frc["raw_target"][3:12], abs=0.1)
    assert wiener_record["truth"]["ssim"]["denoised"] > wiener_record["truth"]["ssim"]["raw"] + 0.3
    assert wiener_record["picking"]["average_precision"]["denoised"] > 0.8


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (Identity(), {"flatness", "noise response", "calibration"}),
        (Constant(), {"noise response", "calibration"}),
        (Hallucinator(), {"flatness", "noise response", "calibration"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else "",
)
def test_a_denoiser_that_is_none_fails(simulated, network, expected):
    assert failed(record_of(network, simulated[1])) == expected


@pytest.mark.parametrize("network", [Identity(), Constant(), Hallucinator()])
def test_it_fails_without_another_half_as_well(simulated, network):
    record = record_of(network, simulated[1], halves=False)
    assert failed(record) == {"noise response"}
    assert record["target"] is record["truth"] is record["picking"] is None
    assert len(record["not_measured"]) == 3
    flatness = next(test for test in record["null_tests"] if test["name"] == "flatness")
    assert flatness["passed"] is None
    assert "another half" in flatness["verdict"]


def test_a_hallucinator_is_worse_than_any_filter_and_finds_fewer_particles(simulated):
    record = record_of(Hallucinator(), simulated[1])
    assert record["truth"]["gain_over_linear_db"] < -5
    precision = record["picking"]["average_precision"]
    assert precision["denoised"] < precision["raw"] - 0.2


@pytest.mark.parametrize(("factor", "words"), [(1.4, "too much"), (0.6, "too little")])
def test_a_wrong_contrast_fails_the_calibration(simulated, wiener, factor, words):
    record = record_of(Convolution(factor * wiener.kernel.numpy()), simulated[1])
    assert failed(record) - {"flatness"} == {"calibration"}  # noise, too, has more contrast
    (verdict,) = [t["verdict"] for t in record["null_tests"] if t["name"] == "calibration"]
    assert words in verdict


@pytest.mark.parametrize(("amplitude", "period_px"), [(0.05, 4), (0.07, 8)])
def test_a_pattern_of_the_grid_fails_its_test_alone(simulated, wiener, amplitude, period_px):
    network = Gridded(wiener, amplitude, period_px)
    assert failed(record_of(network, simulated[1])) == {"grid"}


def test_tiles_that_show_fail_the_test_of_seams(wiener):
    window = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    assert null_tests.seam_test(wiener, window)["passed"]
    assert not null_tests.seam_test(ShortSighted(wiener), window)["passed"]


@pytest.mark.parametrize("seed", range(2))
def test_noise_of_a_spectrum_has_that_spectrum(seed):
    frequency = np.arange(60) / 80
    power = 3 / (1 + np.square(frequency / 0.1))
    noise = null_tests.gaussian_noise((400, 500), frequency, power, seed)
    images = {"raw": MemoryRows(noise), "denoised": MemoryRows(noise)}
    rings = ring_sums(images)
    expected = np.interp(rings.frequency_per_px, frequency, power)
    ratio = rings.power("raw")[5:180] / expected[5:180]
    assert ratio.reshape(7, 25).mean(axis=1) == pytest.approx(1, abs=0.15)


def planes_of(denoised, target):
    """Return a CrossPlane and a GridPlane of two images (H, W)."""
    images = {"raw": denoised, "denoised": denoised, "target": target}
    size = 256
    planes = CrossPlane((size, size)), GridPlane((size, size))
    rings = ring_sums({name: MemoryRows(image) for name, image in images.items()}, planes)
    assert rings.windows == 4
    return planes


def smooth_noise(seed):
    """Return correlated noise (512, 512) of variance 1."""
    image = gaussian_filter(np.random.default_rng(seed).standard_normal((512, 512)), 2.0)
    return image / image.std()


def test_unrelated_noise_gives_few_false_alarms(monkeypatch):
    monkeypatch.setattr("clearice.validation.evidence.WINDOW_PX", 256)
    verdicts = []
    for seed in range(12):
        cross, grid = planes_of(smooth_noise(seed), smooth_noise(100 + seed))
        verdicts += [cross.shuffled_test()["passed"], grid.grid_test()["passed"]]
    assert verdicts.count(False) <= 1  # 0.24 expected of 24


def test_a_pattern_that_both_halves_share_fails_the_shuffled_pairs(monkeypatch):
    monkeypatch.setattr("clearice.validation.evidence.WINDOW_PX", 256)
    pattern = np.tile(smooth_noise(0)[:32, :32], (16, 16))
    first, second = (smooth_noise(seed) + pattern for seed in (1, 2))
    cross, _ = planes_of(first, second)
    assert not cross.shuffled_test()["passed"]


@pytest.mark.parametrize(("amplitude", "passed"), [(0.004, True), (0.05, False), (0.5, False)])
def test_the_amplitude_of_a_grid_is_measured(monkeypatch, amplitude, passed):
    monkeypatch.setattr("clearice.validation.evidence.WINDOW_PX", 256)
    pattern = np.zeros((4, 4))
    pattern[1, 2] = 1
    pattern = amplitude * (pattern - pattern.mean()) / pattern.std()
    image = smooth_noise(0) + np.tile(pattern, (128, 128))
    _, grid = planes_of(image, image)
    found = grid.grid_test()
    assert found["passed"] == passed
    assert found["number"] == pytest.approx(amplitude / image.std(), rel=0.1)


def trained(pairs, generator, steps=120):
    """Return a small network trained on patches of (input, target), each at its own place."""
    torch.manual_seed(0)
    network = SimpleCNN()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    inputs, targets = (torch.from_numpy(np.stack(side))[:, None] for side in pairs)
    for _ in range(steps):
        chosen = torch.from_numpy(generator.integers(0, len(inputs), 16))
        loss = torch.nn.functional.mse_loss(network(inputs[chosen]), targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


def patches_of(image, size=48):
    """Return patches (n, size, size) that tile an image."""
    return [
        image[y : y + size, x : x + size]
        for y in range(0, SIDE_PX, size)
        for x in range(0, SIDE_PX, size)
    ]


def test_shuffled_pairs_teach_nothing(simulated):
    first, held_out = simulated
    generator = np.random.default_rng(0)
    inputs = patches_of(normalised(first.even))
    targets = patches_of(normalised(first.odd, first.even))
    shuffled = [targets[i] for i in generator.permutation(len(targets))]
    truth = normalised(held_out.truth, held_out.even)
    variances = {}
    for name, pairs in (("true", (inputs, targets)), ("shuffled", (inputs, shuffled))):
        network = trained(pairs, generator)
        output = network_output(network, normalised(held_out.even), "cpu")
        variances[name] = output.var()
        if name == "true":
            assert np.corrcoef(output.ravel(), truth.ravel())[0, 1] > 0.6
    assert variances["shuffled"] < 0.05 * variances["true"]
