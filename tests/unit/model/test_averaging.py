"""Averaged weights, and the learning rate that falls with them."""

import copy
import json

import pytest
import torch

from clearice.config import complete_config
from clearice.model.averaging import WeightAverage
from clearice.model.distributed import Processes
from clearice.model.feed import Feed
from clearice.model.networks import build_network
from clearice.model.optimization import Optimization
from clearice.model.training import Training
from clearice.model.weights import load_model
from training_data import assert_same_weights, build_training, train, write_dataset, write_manifest

SCHEDULED = {"learning_rate_schedule": "cosine", "average_weights": True}


def test_the_average_follows_its_formula():
    network = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(network, total_steps=100)  # spans 5 steps
    network.weight.data.fill_(0.0)
    average = WeightAverage(network, total_steps=100)
    expected = 0.0
    for step in range(1, 30):
        network.weight.data.fill_(float(step))
        average.update()
        kept = min(0.8, step / (step + 10))
        expected = kept * expected + (1 - kept) * step
    with average.in_place():
        assert network.weight.item() == pytest.approx(expected, rel=1e-5)
    assert network.weight.item() == 29


def test_a_cosine_warms_up_and_falls_to_nothing():
    optimization = Optimization(
        build_network("simple_cnn"),
        torch.device("cpu"),
        optimizer="adam",
        learning_rate=0.5,
        precision="float32",
        schedule="cosine",
        total_steps=1000,
    )
    rates = []
    for step in range(1000):
        optimization.set_learning_rate(step)
        rates.append(optimization.learning_rate)
    assert rates[0] == pytest.approx(0.005, rel=1e-4)
    assert rates[99] == max(rates) == pytest.approx(0.5, rel=0.03)
    assert rates[-1] < 1e-5
    assert rates[99:] == sorted(rates[99:], reverse=True)


def test_an_interrupted_training_ends_in_the_same_averaged_weights(tmp_path):
    manifest = write_dataset(tmp_path / "dataset")
    whole = train(manifest, tmp_path / "whole", epochs=4, **SCHEDULED)
    parts = build_training(manifest, epochs=4, **SCHEDULED)
    parts.last_epoch = 2  # as if stopped after two
    parts.run(tmp_path / "checkpoint.pt")
    again = build_training(manifest, epochs=4, **SCHEDULED)
    assert "continues from" in again.resume(tmp_path / "checkpoint.pt")
    again.run(tmp_path / "checkpoint.pt")
    with whole.optimization.averaged(), again.optimization.averaged():
        assert_same_weights(again, whole)
    assert [row["test_loss"] for row in again.rows] == [row["test_loss"] for row in whole.rows]


def test_the_length_of_a_scheduled_training_is_part_of_what_it_is(tmp_path):
    manifest = write_dataset(tmp_path / "dataset")
    train(manifest, tmp_path, epochs=2, **SCHEDULED)
    longer = build_training(manifest, epochs=4, **SCHEDULED)
    assert "scheduled_epochs 2 there, 4 here" in longer.resume(tmp_path / "checkpoint.pt")


def test_correlated_pixel_halves_teach_nothing_and_the_pretrained_weights_are_kept(tmp_path):
    """What patches.target auto leads to where the detector spreads its electrons."""
    path = write_dataset(tmp_path / "dataset", size_px=32)
    manifest = json.loads(path.read_text())
    manifest |= {"target_kind": "pixel_halves", "half_correlation": {"train": 0.87, "test": 0.87}}
    write_manifest(path, manifest)
    settings = complete_config({})["model"]["s2d_unet"] | {"device": "cpu", "reader_threads": 1}
    training = Training(path, "s2d_unet", settings, torch.device("cpu"), Processes())
    training.run(tmp_path / "checkpoint.pt")
    assert training.keeps_pretrained
    assert training.resolution == "full"
    (row,) = training.rows
    assert (row["epoch"], row["step"], row["batch_loss"]) == (0, 0, None)
    assert row["test_loss"] > 0
    pretrained, _ = load_model("general")
    with training.optimization.averaged():
        found = {n: p.numpy() for n, p in training.optimization.network.state_dict().items()}
        assert_same_weights(found, {n: p.numpy() for n, p in pretrained.state_dict().items()})


def test_what_is_evaluated_is_the_average(tmp_path):
    manifest = write_dataset(tmp_path / "dataset")
    training = train(manifest, tmp_path, epochs=3, learning_rate=0.05, **SCHEDULED)
    last = copy.deepcopy(training.optimization.network)
    with training.optimization.averaged():
        averaged = list(training.optimization.network.parameters())
        assert any(not torch.equal(a, b) for a, b in zip(averaged, last.parameters(), strict=True))


@pytest.mark.parametrize(
    ("grid_px", "augmentation", "side_px"), [(1, True, 64), (16, True, 48), (16, False, 64)]
)
def test_patches_are_cut_anew_for_a_network_with_a_grid(tmp_path, grid_px, augmentation, side_px):
    path = write_dataset(tmp_path / "dataset", train=(3, 2), size_px=64)
    settings = complete_config({})["model"]["s2d_unet"] | {
        "reader_threads": 1,
        "augmentation": augmentation,
    }
    seen = []
    with Feed(path, settings, torch.device("cpu"), Processes(), grid_px) as feed:
        assert feed.training_size_px == side_px
        for epoch in (0, 1):
            for batch in feed.training_batches(epoch):
                assert batch.input.shape[2:] == batch.target.shape[2:] == (side_px, side_px)
                seen += [round(float(patch.sum()), 3) for patch in batch.input]
        for batch in feed.evaluation_batches("train"):
            assert batch.input.shape[2:] == (64, 64)
    repeated = len(set(seen)) == 5  # turns keep the sum of a patch
    assert repeated == (side_px == 64)
