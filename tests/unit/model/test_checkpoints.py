"""Checkpoints: what a training continues from, and what it must not continue from."""

import pytest
import torch

from clearice.errors import InputError
from clearice.model.checkpoints import (
    describe_differences,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from clearice.model.optimization import Optimization
from clearice.model.weights import save_model
from training_data import assert_same_weights, build_training, train, write_dataset


@pytest.fixture
def manifest(tmp_path):
    return write_dataset(tmp_path / "dataset")


def state_of(**changes):
    """Return the state of a training that has not begun."""
    state = {key: {} for key in ("identity", "totals", "network", "optimizer", "scaler")}
    state |= dict.fromkeys(("epoch", "batch", "step", "grouped", "seconds", "interruptions"), 0)
    return {**state, "rows": [], "average": None, "rng": None, "device_rng": None, **changes}


def test_a_checkpoint_of_before_there_were_planes_is_continued_from(tmp_path):
    state = state_of()
    del state["grouped"]
    save_checkpoint(tmp_path / "checkpoint.pt", state)
    assert load_checkpoint(tmp_path / "checkpoint.pt", {}, 1)["grouped"] is False


def test_differences_are_named():
    assert describe_differences({"a": 1, "b": 2}, {"a": 1, "b": 2}) == ""
    text = describe_differences({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4})
    assert text == "b 2 there, 3 here; c None there, 4 here"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such checkpoint"),
        (b"", "not a readable"),
        (b"PK\x03\x04 broken", "not a readable"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content, message):
    path = tmp_path / "checkpoint.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_checkpoint(path, {}, 1)


@pytest.fixture
def damage(manifest, tmp_path):
    """Train into tmp_path, then flip the bits of `count` bytes in the middle of the checkpoint."""

    def train_and_damage(count):
        train(manifest, tmp_path, epochs=1)
        path = tmp_path / "checkpoint.pt"
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + count] = bytes(b ^ 0xFF for b in content[middle:][:count])
        path.write_bytes(content)
        return path

    return train_and_damage


@pytest.mark.parametrize("count", [1, 100])
def test_a_damaged_one_is_refused_where_it_is_demanded(manifest, damage, count):
    path = damage(count)
    with pytest.raises(InputError, match=r"not a readable checkpoint \(.*damaged\)") as caught:
        build_training(manifest, epochs=2).resume(path, demanded=True)
    assert "\n" not in str(caught.value)
    assert path.exists()


def test_a_damaged_one_in_its_own_folder_is_set_aside(manifest, damage):
    path = damage(1)
    training = build_training(manifest, epochs=2)
    assert "damaged): set aside as" in training.resume(path)
    assert training.course.step == 0
    assert [p.name for p in path.parent.glob("checkpoint.pt*")] == ["checkpoint.pt.other"]


@pytest.mark.parametrize("key", ["identity", "totals", "rng", "network"])
def test_one_without_a_part_is_refused_and_set_aside(tmp_path, key):
    path, state = tmp_path / "checkpoint.pt", state_of()
    del state[key]
    save_checkpoint(path, state)
    with pytest.raises(InputError, match=f"is a checkpoint without {key}; remove it: rm "):
        load_checkpoint(path, {}, 1)
    state, remark = find_checkpoint(path, {}, 1)
    assert state is None
    assert f"without {key}: set aside as" in remark


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"format_version": 1, **state_of(), "trap": Optimization}, path)
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load_checkpoint(path, {}, 1)


def test_a_failed_write_leaves_the_checkpoint_before_it(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, state_of(identity={"a": 1}))
    with pytest.raises(AttributeError):
        save_checkpoint(path, state_of(identity={"a": 2}) | {"cannot be saved": lambda: None})
    assert load_checkpoint(path, {"a": 1}, 1)["identity"] == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_one_of_another_configuration_is_refused_by_name(manifest, tmp_path):
    train(manifest, tmp_path)
    training = build_training(manifest, learning_rate=0.5, seed=3)
    with pytest.raises(InputError) as caught:
        training.resume(tmp_path / "checkpoint.pt", demanded=True)
    assert "learning_rate 0.001 there, 0.5 here; seed 0 there, 3 here" in str(caught.value)
    assert (tmp_path / "checkpoint.pt").exists()


def test_one_of_another_dataset_is_refused_by_name(manifest, tmp_path):
    train(manifest, tmp_path)
    training = build_training(write_dataset(tmp_path / "grown", train=(4, 5, 6)))
    with pytest.raises(InputError, match="another training: dataset_xxh3"):
        training.resume(tmp_path / "checkpoint.pt", demanded=True)


def test_in_its_own_folder_it_is_set_aside_and_the_training_starts_from_scratch(manifest, tmp_path):
    """What a rerun after a change of config.yaml must do."""
    train(manifest, tmp_path / "run")
    training = build_training(manifest, learning_rate=0.5)
    remark = training.resume(tmp_path / "run" / "checkpoint.pt")
    assert "learning_rate 0.001 there, 0.5 here" in remark
    assert "checkpoint.pt.other; starting from scratch" in remark
    assert training.course.step == 0
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["checkpoint.pt.other", "history.tsv"]


def test_where_and_how_long_it_runs_may_change(manifest, tmp_path):
    """More epochs continue a training that had ended, to the same bits as all at once."""
    train(manifest, tmp_path / "parts", epochs=2)
    parts = train(manifest, tmp_path / "parts", epochs=5, reader_threads=1, checkpoint_minutes=3)
    assert parts.course.interruptions == 1
    whole = train(manifest, tmp_path / "whole", epochs=5)
    assert_same_weights(parts, whole)
    losses = [[row["test_loss"] for row in run.rows] for run in (parts, whole)]
    assert losses[0] == losses[1]


def test_one_that_had_ended_is_trained_anew_when_asked_for_again(manifest, tmp_path):
    """Snakemake reruns the rule when the code has changed: the old weights must not come back."""
    train(manifest, tmp_path)
    again = build_training(manifest)
    remark = again.resume(tmp_path / "checkpoint.pt")
    assert "belongs to a finished training; starting from scratch" in remark
    assert again.course.step == 0


def test_one_that_had_ended_gives_its_model_when_demanded(manifest, tmp_path):
    ended = train(manifest, tmp_path)
    again = build_training(manifest)
    remark = again.resume(tmp_path / "checkpoint.pt", demanded=True)
    assert "holds all 2 epochs: nothing is left to train" in remark
    again.run(tmp_path / "again.pt")
    assert_same_weights(again, ended)
    assert again.rows == ended.rows


def test_one_that_has_come_further_is_refused_or_set_aside(manifest, tmp_path):
    """Its weights are not those of a shorter training; they may be worth keeping."""
    train(manifest, tmp_path, epochs=3)
    path = tmp_path / "checkpoint.pt"
    message = "holds 3 epochs and 0 batches, more than the 2 epochs of this training"
    with pytest.raises(InputError, match=f"{message}; raise epochs"):
        build_training(manifest, epochs=2).resume(path, demanded=True)
    content = path.read_bytes()
    training = build_training(manifest, epochs=2)
    assert training.resume(path) == (f"{message}: set aside as {path}.other; starting from scratch")
    assert training.course.step == 0
    assert (tmp_path / "checkpoint.pt.other").read_bytes() == content


@pytest.mark.parametrize(("batch", "fits"), [(0, True), (1, False)])
def test_a_batch_after_the_last_epoch_is_further(tmp_path, batch, fits):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, state_of(epoch=2, batch=batch))
    assert (find_checkpoint(path, {}, 2)[0] is not None) == fits


def test_growth_can_start_from_the_old_weights(manifest, tmp_path):
    old = train(manifest, tmp_path / "old", learning_rate=0.01)
    file = tmp_path / "weights.safetensors"
    save_model(file, old.optimization.network, {"architecture": "simple_cnn"})
    grown = write_dataset(tmp_path / "grown", train=(4, 5, 6))
    new = train(grown, tmp_path / "new", initial_weights=str(file))
    assert new.course.identity["initial_weights_xxh3"]
    assert build_training(grown).course.identity != new.course.identity
    assert new.rows[0]["epoch"] == 1
