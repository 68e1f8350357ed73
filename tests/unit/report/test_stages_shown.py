"""A network that was trained in stages: what the page says of them, and of who denoised what."""

import pytest

from clearice.files import read_json, write_json
from clearice.report.facts import earlier_states
from report_run import Run, text_of

NEWEST, OLDER, FOREIGN = "0" * 16, "1" * 16, "2" * 16


def stage(number, model, **facts):
    entry = {"stage": number, "first_epoch": 3 * number - 2, "last_epoch": 3 * number}
    entry |= {"started_from": "general" if number == 1 else f"stage {number - 1}"}
    entry |= {"micrographs": {"train": 1000 * number, "test": 1}, "new_train_micrographs": 1000}
    entry |= {"patches": {"train": 7, "test": 7}, "learning_rate": 1e-3, "test_loss": 0.5}
    entry |= {"seconds": 61, "ended": "2026-01-01T00:00:00Z", "dataset_xxh3": "f" * 16}
    return entry | {"model_xxh3": model} | facts


@pytest.fixture
def run(tmp_path):
    """A run whose network has two stages, and three denoised micrographs."""
    run = Run(tmp_path)
    names = ["m1", "m2", "m3"]
    run.add_dataset(names, tested=["m2"]).add_model().add_denoised(names)
    change(run, "trainings", 0, stages=[stage(1, OLDER), stage(2, NEWEST)])
    return run


def change(run, kind, number, **facts):
    path = run.arguments[kind][number]
    write_json(path, read_json(path) | facts)


def denoised_by(run, number, model):
    record = read_json(run.arguments["denoised"][number])
    change(run, "denoised", number, model=record["model"] | {"xxh3": model})


def test_the_page_has_a_row_for_each_stage(run):
    page = text_of(run.write())
    assert "simple_cnn was trained in 2 stages" in page
    assert "1 1 to 3 general 1,000 1,000 7" in page
    assert "2 4 to 6 stage 1 2,000 1,000 7" in page
    assert "earlier state" not in page


def test_a_stage_without_epochs_says_so(run):
    """Pretrained weights that are kept are evaluated, not trained."""
    change(run, "trainings", 0, stages=[stage(1, OLDER, last_epoch=0), stage(2, NEWEST)])
    assert "1 none general" in text_of(run.write())


def test_one_stage_needs_no_table_and_a_new_beginning_is_explained(run):
    reason = "learning_rate 0.1 there, 0.2 here"
    change(run, "trainings", 0, stages=[stage(1, NEWEST)], anew_because=reason)
    page = text_of(run.write())
    assert "stages" not in page
    assert f"simple_cnn was trained anew: {reason}." in page


def test_what_earlier_states_denoised_is_counted(run):
    denoised_by(run, 0, OLDER)
    denoised_by(run, 2, FOREIGN)
    page = text_of(run.write())
    assert "2 of 3 micrographs were denoised by an earlier state of the network" in page
    assert "(1 by another training, 1 by stage 1)" in page


def test_earlier_states_are_told_from_the_newest():
    denoised = {str(i): {"model": {"xxh3": m}} for i, m in enumerate((NEWEST, OLDER, OLDER))}
    training = {"model_xxh3": NEWEST, "stages": [stage(1, OLDER), stage(2, NEWEST)]}
    found = earlier_states(denoised, training)
    assert found == {"micrographs": 3, "earlier": 2, "stages": {1: 2}}
