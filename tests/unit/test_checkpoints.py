"""Checkpoints: what a training continues from, and what it must not continue from."""

import pytest
import torch
from clearice.checkpoints import describe_differences, load_checkpoint, save_checkpoint
from clearice.errors import InputError
from clearice.model import save_model
from clearice.optimization import Optimization
from training_data import assert_same_weights, build_training, train, write_dataset


@pytest.fixture
def manifest(tmp_path):
    return write_dataset(tmp_path / "dataset")


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
        load_checkpoint(path, {})


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"format_version": 1, "identity": {}, "trap": Optimization}, path)
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load_checkpoint(path, {})


def test_a_failed_write_leaves_the_checkpoint_before_it(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"identity": {"a": 1}})
    with pytest.raises(AttributeError):
        save_checkpoint(path, {"identity": {"a": 2}, "cannot be saved": lambda: None})
    assert load_checkpoint(path, {"a": 1})["identity"] == {"a": 1}
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


def test_in_its_own_folder_it_is_set_aside_and_the_training_starts_anew(manifest, tmp_path):
    """What a rerun after a change of config.yaml must do."""
    train(manifest, tmp_path / "run")
    training = build_training(manifest, learning_rate=0.5)
    remark = training.resume(tmp_path / "run" / "checkpoint.pt")
    assert "learning_rate 0.001 there, 0.5 here" in remark
    assert "checkpoint.pt.other; the training starts anew" in remark
    assert training.step == 0
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["checkpoint.pt.other", "history.tsv"]


def test_where_and_how_long_it_runs_may_change(manifest, tmp_path):
    """More epochs continue a training that had ended, to the same bits as all at once."""
    train(manifest, tmp_path / "parts", epochs=2)
    parts = train(manifest, tmp_path / "parts", epochs=5, reader_threads=1, checkpoint_minutes=3)
    assert parts.interruptions == 1
    whole = train(manifest, tmp_path / "whole", epochs=5)
    assert_same_weights(parts, whole)
    losses = [[row["test_loss"] for row in run.rows] for run in (parts, whole)]
    assert losses[0] == losses[1]


def test_one_that_had_ended_is_trained_anew_when_asked_for_again(manifest, tmp_path):
    """Snakemake reruns the rule when the code has changed: the old weights must not come back."""
    train(manifest, tmp_path)
    again = build_training(manifest)
    assert again.resume(tmp_path / "checkpoint.pt") is None
    assert again.step == 0


def test_growth_can_start_from_the_old_weights(manifest, tmp_path):
    old = train(manifest, tmp_path / "old", learning_rate=0.01)
    file = tmp_path / "weights.safetensors"
    save_model(file, old.optimization.network, {"architecture": "simple_cnn"})
    grown = write_dataset(tmp_path / "grown", train=(4, 5, 6))
    new = train(grown, tmp_path / "new", initial_weights=str(file))
    assert new.identity["initial_weights_xxh3"]
    assert build_training(grown).identity != new.identity
    assert new.rows[0]["epoch"] == 1
