"""What is said of a training: by rules that chance and short histories don't fool."""

import pytest

from clearice.report.learning import (
    against_linear,
    explained,
    learned,
    linear_loss,
    thinned,
)


def rows(test, train=None, floor=0.98, stage=1, first=1):
    """Return a history of these losses."""
    train = train or test
    return [
        {
            "stage": stage,
            "epoch": first + k,
            "train_loss": train[k],
            "test_loss": loss,
            "noise_floor_test": floor,
        }
        for k, loss in enumerate(test)
    ]


def test_a_fall_that_ended_near_the_floor_has_settled():
    said = learned(rows([1.31, 1.05, 1.0, 0.9905, 0.99, 0.99]))
    assert said == (
        "The test loss fell from 1.31 to 0.99 (1 % above the noise floor), and has settled: more "
        "epochs would change little."
    )


@pytest.mark.parametrize(
    ("test", "floor"),
    [([1.31, 1.2, 1.1, 1.05], 0.98), ([0.5, 0.4, 0.3], None), ([1.31, 1.05], 0.98)],
)
def test_a_fall_that_goes_on_asks_for_epochs(test, floor):
    assert "still falling: more epochs would help" in learned(rows(test, floor=floor))


def test_a_last_step_within_chance_is_no_fall():
    assert "has settled" in learned(rows([1.31, 0.9905, 0.9903, 0.9899]))


def test_a_rise_while_the_training_loss_falls_is_noise_learned_by_heart():
    said = learned(rows([1.3, 1.0, 1.02, 1.05, 1.08], train=[1.3, 1.0, 0.95, 0.9, 0.85]))
    assert "least after epoch 2 (1) and has risen since to 1.08" in said
    assert "learns the noise" in said


def test_a_rise_of_both_losses_is_no_learning_of_noise():
    said = learned(rows([1.3, 1.0, 1.02, 1.05, 1.2]))
    assert "as did the training loss" in said
    assert "learns the noise" not in said


@pytest.mark.parametrize(
    "test",
    [
        [1.3, 1.0, 0.99, 1.05],  # one worse epoch
        [1.3, 1.1, 0.99, 1.0, 0.985, 0.986, 0.9851],  # back again
        [1.2, 0.99, 1.01, 0.99, 1.01, 0.99, 1.01, 0.9905, 0.9904],  # no more than from step to step
    ],
)
def test_what_goes_up_and_down_does_not_rise(test):
    assert "risen since" not in learned(rows(test))


def test_one_epoch_shows_no_trend():
    said = learned(rows([0.99]))
    assert said.startswith("One epoch left a test loss of 0.99 (1 % above the noise floor)")
    assert "no trend" in said


def test_nothing_learned_is_said():
    assert "nothing was learned" in learned(rows([1.0, 1.2]))
    assert "little left to learn" in learned(rows([1.0, 0.9999]))


def test_kept_weights_were_not_trained():
    said = learned(rows([0.99]), kept_pretrained=True)
    assert "not trained" in said
    assert "fell" not in said


def test_an_unknown_test_loss_says_so():
    assert "No test loss" in learned(rows([None], train=[1.0]))


def test_only_the_last_stage_counts():
    earlier = rows([0.2, 0.1], floor=None)
    said = learned(earlier + rows([1.2, 1.1, 1.0999], floor=None, stage=2, first=3))
    assert "from 1.2 to 1.1" in said


def test_the_share_that_is_explained_is_that_between_constant_and_floor():
    last = rows([0.99])[-1]
    assert "It predicts 75 %" in explained(last, constant=1.02)
    assert "worse than a constant" in explained(last, constant=0.985)
    assert explained(last, constant=None) == ""
    assert explained(rows([0.99], floor=None)[-1], constant=1.02) == ""
    assert explained(last, constant=0.9801) == ""  # no signal that could be told from none


def test_a_network_is_compared_with_a_blur():
    last = rows([0.99])[-1]
    assert "below that of the best linear filter (1)" in against_linear(last, 1.0)
    assert "a blur does better" in against_linear(last, 0.97)
    assert "about the same" in against_linear(last, 0.9901)
    assert against_linear(last, None) == ""


def test_the_loss_of_a_filter_is_in_the_unit_of_training():
    def record(patches, std, gaussian, wiener):
        mse = {"gaussian": gaussian, "wiener": wiener}
        return {"losses": {"patches": patches, "std": std}, "target": {"mse": mse}}

    records = [record(1, 2.0, 8.0, 4.0), record(3, 1.0, 2.0, 2.0)]
    assert linear_loss(records) == pytest.approx((1.0 + 3 * 2.0) / 4)
    assert linear_loss([*records, {"losses": None, "target": None}]) is None
    assert linear_loss([]) is None


def test_long_histories_are_thinned_and_keep_what_tells():
    losses = [2 - k / 30_000 for k in range(50_000)]
    losses[31_234] = 0.01
    long = rows(losses)
    for row in long[20_001:]:
        row["stage"] = 2
    short = thinned(long)
    epochs = [row["epoch"] for row in short]
    assert len(short) < 410
    assert epochs == sorted(epochs)
    assert {1, 31_235, 20_001, 20_002, 50_000} <= set(epochs)
    assert thinned(long[:400]) == long[:400]
