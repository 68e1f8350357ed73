"""The general network: what it is trained on, that it can be trained again, and what is shipped."""

import copy

import numpy as np
import pytest
import torch

from affine import affine_of
from clearice.errors import InputError
from clearice.model.files import GENERAL
from clearice.model.general import particles, training
from clearice.model.general.scenes import Pool, robust_affine, training_pair
from clearice.model.general.training import GeneralTraining
from clearice.model.weights import load_model

CPU = torch.device("cpu")
GOLDEN = (1 + 5**0.5) / 2


@pytest.fixture(scope="module")
def pool():
    return Pool(seed=1, number=0, device=CPU)


@pytest.mark.parametrize(
    ("axes", "order"),
    [
        ([((0, 0, 1), 7)], 7),
        ([((0, 0, 1), 7), ((1, 0, 0), 2)], 14),
        ([((0, 0, 1), 2), ((1, 1, 1), 3)], 12),
        ([((0, 0, 1), 4), ((1, 1, 1), 3)], 24),
        ([((0, 0, 1), 2), ((1, 1, 1), 3), ((0, 1, GOLDEN), 5)], 60),
    ],
)
def test_axes_generate_their_point_group(axes, order):
    elements = particles._group(axes)
    assert len(elements) == order
    for element in elements:
        np.testing.assert_allclose(element @ element.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(element) == pytest.approx(1)


def test_particles_are_centred_and_as_large_as_they_say():
    generator = np.random.default_rng(0)
    for _ in range(60):
        points, radius = particles.particle(generator)
        assert points.shape == (particles.POINTS, 3)
        assert np.abs(points.mean(axis=0)).max() < 1e-2
        share_inside = (np.linalg.norm(points, axis=1) <= radius * 1.001).mean()
        assert share_inside == pytest.approx(0.95, abs=0.01)


def test_a_pair_depends_on_seed_and_step_alone(pool):
    first, again = (training_pair(pool, 3, 128, 1, 7, CPU) for _ in range(2))
    other_step, other_seed = (training_pair(pool, 3, 128, *args, CPU) for args in ((1, 8), (2, 7)))
    for one, same, *others in zip(first, again, other_step, other_seed, strict=True):
        assert torch.equal(one, same)
        assert not any(torch.equal(one, other) for other in others)


def test_pairs_are_finite_and_on_the_scale_that_a_network_sees(pool):
    for step in range(12):
        noisy, clean, variance = training_pair(pool, 4, 192, 3, step, CPU)
        for tensor in (noisy, clean, variance):
            assert torch.isfinite(tensor).all()
        for image in noisy[:, 0]:
            location, scale = affine_of(image.numpy())
            assert abs(location) < 0.05
            assert scale == pytest.approx(1, abs=0.02)


def test_the_affine_on_the_device_is_that_of_a_micrograph():
    image = np.random.default_rng(0).normal(50, 3, (96, 256)).astype(np.float32)
    location, scale = robust_affine(torch.from_numpy(image)[None])
    expected = affine_of(image)
    assert [location.item(), scale.item()] == pytest.approx(expected, rel=1e-3)


def steps(count, checkpoint=None, total=4):
    """Return a GeneralTraining after `count` steps, continued from a checkpoint if there is one."""
    run = GeneralTraining(total, 1, "cpu", batch_size=2)
    if checkpoint:
        run.restore(checkpoint)
    while run.step < count:
        run._train_step()
    return run


def test_an_interrupted_training_continues_as_if_nothing_had_happened(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SIZE_PX", 192)
    monkeypatch.setattr(training, "POOL_STEPS", 3)
    whole = steps(4)
    steps(2).save(tmp_path / "checkpoint.pt")
    parts = steps(4, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match="seed 1 there, 2 here"):
        GeneralTraining(4, 2, "cpu", batch_size=2).restore(tmp_path / "checkpoint.pt")
    for one, other in zip(whole.average.parameters(), parts.average.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_step_learns_and_the_average_follows(monkeypatch):
    monkeypatch.setattr(training, "SIZE_PX", 192)
    run = GeneralTraining(1000, 1, "cpu", batch_size=2)
    before = copy.deepcopy(run.average.state_dict())
    losses = [run._train_step().item() for _ in range(3)]
    assert np.isfinite(losses).all()
    changed = [not torch.equal(before[n], p) for n, p in run.average.state_dict().items()]
    assert all(changed)


def test_the_shipped_weights_are_small_and_whole():
    assert GENERAL.stat().st_size <= 2_000_000
    network, metadata = load_model("general")
    assert metadata["architecture"] == "s2d_unet"
    assert 100_000 <= sum(p.numel() for p in network.parameters()) <= 1_000_000
    card = GENERAL.with_name("model_card.md").read_text()
    assert f"--steps {metadata['steps'].split()[0]} --seed {metadata['seed']}" in card


def test_the_shipped_network_finds_discs_in_noise():
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256]
    truth = np.zeros((256, 256), np.float32)
    for cy, cx in generator.uniform(20, 236, (8, 2)):
        truth -= 0.6 / (1 + np.exp((np.hypot(y - cy, x - cx) - 12) / 1.5)).astype(np.float32)
    noisy = truth + generator.normal(size=truth.shape).astype(np.float32)
    network, _ = load_model("general")
    with torch.inference_mode():
        result = network(torch.from_numpy(noisy)[None, None])[0, 0].numpy()
    correlation = [np.corrcoef(image.ravel(), truth.ravel())[0, 1] for image in (noisy, result)]
    assert correlation[1] > 0.85 > 4 * correlation[0] * 0.85
