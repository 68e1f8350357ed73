"""A training that goes on while the dataset grows: what is continued, what starts anew, and why."""

import dataclasses
import json

import numpy as np
import pytest

from clearice.dataset.contents import Contents, contents_of_manifest, contents_of_table
from clearice.dataset.manifest import read_manifest
from clearice.errors import InputError
from clearice.files import write_json, xxh3_of_file
from clearice.model.files import HISTORY, MODEL, RECORD
from clearice.model.history import read_history
from clearice.model.stages import kept_stage, next_stage, recipe_of, stage_in_words
from clearice.model.weights import load_model
from training_data import model_settings, run_script, write_dataset

pytestmark = pytest.mark.usefixtures("one_thread")

GROWS = {"continue_training": True, "continue_epochs": 2, "epochs": 3, "learning_rate": 0.01}
KIND = {"dtype": "float32", "patch_size_px": 64, "target_kind": "halves", "normalisation": "n"}
SEEN = {"train": {"a": "1", "b": "2"}, "test": {"t": "3"}}


def contents(train=(), test=(), **facts):
    splits = {"train": SEEN["train"] | dict(train), "test": SEEN["test"] | dict(test)}
    return Contents(splits, **{"kind": KIND, **facts})


def recipe(found, code="c", **settings):
    return recipe_of("simple_cnn", model_settings(**settings), code, found)


@pytest.fixture
def folder(tmp_path):
    """A folder whose network was trained on SEEN, in one stage."""
    found = contents()
    stage = next_stage(tmp_path, recipe(found), found, continues=True)
    with kept_stage(tmp_path, 1) as kept:
        (kept / MODEL).write_bytes(b"weights")
        record = {"stage": 1, "lineage": stage.lineage, "recipe": recipe(found), "kind": KIND}
        record |= {"trained_on": SEEN["train"], "held_out": ["t"]}
        write_json(kept / RECORD, record | {"model_xxh3": xxh3_of_file(kept / MODEL)})
    return tmp_path


def test_new_micrographs_make_a_new_stage_of_the_same_lineage(folder):
    first = next_stage(folder / "empty", recipe(contents()), contents(), continues=True)
    assert (first.number, first.start, first.anew_because) == (1, None, None)
    grown = contents(train={"c": "4"}, test={"u": "5"})
    second = next_stage(folder, recipe(grown), grown, continues=True)
    assert (second.number, second.is_done) == (2, False)
    assert second.start == folder / "stages" / "1" / MODEL
    assert second.lineage == first.lineage
    assert "stage 2: the network of" in stage_in_words(second)


@pytest.mark.parametrize("test", [{}, {"u": "5"}])
def test_without_new_training_micrographs_nothing_is_trained(folder, test):
    stage = next_stage(folder, recipe(contents()), contents(test=test), continues=True)
    assert (stage.number, stage.is_done) == (1, True)


def test_without_continue_training_the_lineage_is_that_of_the_data(folder):
    same, grown = contents(), contents(train={"c": "4"})
    stages = [next_stage(folder, recipe(c), c, continues=False) for c in (same, grown)]
    kept = json.loads((folder / "stages/1" / RECORD).read_text())
    assert [stage.number for stage in stages] == [1, 1]
    assert [stage.lineage == kept["lineage"] for stage in stages] == [True, False]


GROWN = {"train": {"a": "1", "b": "2", "c": "4"}, "test": {"t": "3"}}
REASONS = {
    "learning_rate 0.001 there, 0.5 here": (GROWN, {"learning_rate": 0.5}, {}),
    "epochs 2 there, 9 here": (GROWN, {"epochs": 9}, {}),
    "initial_weights_xxh3 None there": (GROWN, {"initial_weights": "general"}, {}),
    "the code of the training changed": (GROWN, {"code": "other"}, {}),
    "patch_size_px 64 there, 32 here": (GROWN, {}, {"kind": {**KIND, "patch_size_px": 32}}),
    "keeps_pretrained False there": (
        GROWN,
        {"initial_weights": "general"},
        {"pixel_correlation": 0.2},
    ),
    "trained on before, and not in the dataset any more: b": (
        {"train": {"a": "1", "c": "4"}, "test": {"t": "3"}},
        {},
        {},
    ),
    "held out for testing now, and trained on before: b": (
        {"train": {"a": "1", "c": "4"}, "test": {"t": "3", "b": "2"}},
        {},
        {},
    ),
    "held out for testing before, and to be trained on now: t": (
        {"train": GROWN["train"] | {"t": "3"}, "test": {"u": "5"}},
        {},
        {},
    ),
    "other pixels than those trained on before: a": (
        {"train": {"a": "9", "b": "2", "c": "4"}, "test": {"t": "3"}},
        {},
        {},
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_what_makes_continuing_wrong_starts_anew_and_is_named(folder, reason):
    splits, settings, facts = REASONS[reason]
    found = Contents(splits, **{"kind": KIND, **facts})
    stage = next_stage(folder, recipe(found, **settings), found, continues=True)
    assert (stage.number, stage.start, stage.is_done) == (1, None, False)
    assert reason in stage.anew_because
    assert stage_in_words(stage).startswith("starts anew: ")
    assert stage.lineage != json.loads((folder / "stages/1" / RECORD).read_text())["lineage"]


@pytest.mark.parametrize("name", [MODEL, RECORD])
def test_a_damaged_stage_is_not_continued(folder, name):
    (folder / "stages/1" / name).write_bytes(b"{}")
    found = contents(train={"c": "4"})
    stage = next_stage(folder, recipe(found), found, continues=True)
    assert stage.number == 1
    assert "stages/1 is damaged" in stage.anew_because


def test_a_stage_that_was_not_finished_leaves_the_one_before_it(folder):
    for number in (1, 2):
        with pytest.raises(OSError, match="disk"), kept_stage(folder, number):
            raise OSError("disk")
    assert (folder / "stages/1" / MODEL).read_bytes() == b"weights"
    assert not (folder / "stages/2").exists()
    with kept_stage(folder, 1) as kept:
        (kept / MODEL).write_bytes(b"anew")
    assert (folder / "stages/1" / MODEL).read_bytes() == b"anew"
    assert (folder / "stages.other/1" / MODEL).read_bytes() == b"weights"


def test_table_and_manifest_name_the_same_contents():
    """The workflow plans by the table what the training finds in the manifest."""
    splits = {"train": {}, "test": {}}
    rows = []
    for name, split, value in (("a", "train", 0.25), ("b", "train", 0.5), ("t", "test", 0.75)):
        segment = {"micrograph": name, "n_patches": 2, "input_xxh3": name, "target_xxh3": "x"}
        splits[split].setdefault("segments", []).append(segment)
        rows.append({"status": "ok", "split": split, "micrograph": name, "patches": "2"})
        rows[-1]["dependent_pixels"] = str(value)
    manifest = {**KIND, "target_kind": "pixel_halves", "splits": splits}
    found = contents_of_manifest(manifest | {"half_correlation": {"train": 0.375}})
    for row in rows:
        row["patches_xxh3"] = found.splits[row["split"]][row["micrograph"]]
    listed = contents_of_table([*rows, {"status": "rejected"}])
    assert dataclasses.replace(found, kind=None) == listed
    assert found.xxh3 == listed.xxh3
    assert listed.xxh3 != contents_of_table([*rows[:2], rows[2] | {"patches_xxh3": "0"}]).xxh3


# The same with real trainings.


def dataset(folder, count):
    """Write a dataset of `count` training micrographs, the first ones as in a smaller one."""
    manifest = folder / str(count) / "manifest.json"
    if manifest.exists():
        return manifest
    return write_dataset(manifest.parent, train=(4, 5, 6, 3)[:count])


def test_a_network_is_trained_further_twice_and_every_epoch_says_on_what(tmp_path, capsys):
    run = tmp_path / "run"
    records = [run_script(dataset(tmp_path, count), run, **GROWS) for count in (2, 3, 4)]
    rows = read_history(run / HISTORY)
    assert [row["stage"] for row in rows] == [1, 1, 1, 2, 2, 3, 3]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [row["train_patches"] for row in rows] == [9] * 3 + [15] * 2 + [18] * 2
    hashes = [record["dataset_xxh3"] for record in records]
    assert [row["dataset_xxh3"] for row in rows] == [hashes[row["stage"] - 1] for row in rows]
    assert rows[-1]["step"] == 3 * 3 + 2 * 4 + 2 * 5
    assert rows[3]["train_loss"] < rows[0]["train_loss"]
    stages = records[-1]["stages"]
    assert [stage["new_train_micrographs"] for stage in stages] == [2, 1, 1]
    assert [stage["started_from"] for stage in stages] == ["random weights", "stage 1", "stage 2"]
    for number, record in enumerate(records, 1):
        assert json.loads((run / f"stages/{number}" / RECORD).read_text()) == record
    assert len({record["lineage"] for record in records}) == 1
    _, metadata = load_model(run / MODEL)
    assert (metadata["stage"], metadata["epochs"]) == ("3", "7")
    assert "stage 3: the network of" in capsys.readouterr().err

    before = (run / MODEL).read_bytes()
    (run / MODEL).unlink()
    run_script(dataset(tmp_path, 4), run, **GROWS)
    assert "no new micrograph to train on" in capsys.readouterr().err
    assert (run / MODEL).read_bytes() == before


def test_a_first_stage_is_the_same_network_whether_it_will_be_continued_or_not(tmp_path):
    manifest = dataset(tmp_path, 2)
    one = run_script(manifest, tmp_path / "one", **GROWS)
    other = run_script(manifest, tmp_path / "other", **GROWS | {"continue_training": False})
    assert (tmp_path / "one" / MODEL).read_bytes() == (tmp_path / "other" / MODEL).read_bytes()
    assert one["lineage"] == other["lineage"]


def test_what_was_trained_on_and_is_now_held_out_is_seen(tmp_path, capsys):
    run = tmp_path / "run"
    run_script(dataset(tmp_path, 3), run, **GROWS)
    content = read_manifest(dataset(tmp_path / "moved", 3))
    content["splits"]["test"]["segments"][0]["micrograph"] = "train_1"
    content["splits"]["train"]["segments"][1]["micrograph"] = "test_0"
    found = contents_of_manifest(content)
    stage = next_stage(run, json.loads((run / RECORD).read_text())["recipe"], found, continues=True)
    assert stage.anew_because == "held out for testing now, and trained on before: train_1"


def test_a_stage_that_fails_leaves_the_network_before_it(tmp_path):
    """And without the micrograph that spoilt it, the old network is there again at once."""
    run = tmp_path / "run"
    first = run_script(dataset(tmp_path, 2), run, **GROWS)
    good = (run / MODEL).read_bytes()
    bad = dataset(tmp_path, 3)
    values = np.memmap(bad.parent / "train.input", np.float32, "r+")
    values[-7] = np.nan
    values.flush()
    for path in (MODEL, HISTORY, RECORD):  # as Snakemake does before a job
        (run / path).unlink()
    with pytest.raises(InputError, match=r"the loss is nan in epoch 4, .*stages/1/denoiser") as c:
        run_script(bad, run, **GROWS)
    assert "\n" not in str(c.value)
    assert (run / "stages/1" / MODEL).read_bytes() == good
    assert run_script(dataset(tmp_path / "again", 2), run, **GROWS) == first
    assert (run / MODEL).read_bytes() == good
