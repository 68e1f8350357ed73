"""The file that says how far a job is."""

import os

import pytest

from clearice import job_progress
from clearice.job_progress import ProgressFile, progress_beside, progress_path, read_progress


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setattr(job_progress, "_WRITE_EVERY_S", 0.0)
    monkeypatch.delenv("CLEARICE_PROGRESS", raising=False)
    return tmp_path / "results" / "train_denoiser.log"


def test_what_a_job_writes_is_read_while_it_runs(log):
    log.parent.mkdir()
    with progress_beside(log):
        file = ProgressFile(200, done=100)
        assert file.is_due()
        file.write(150, "epoch 2 of 3")
        said = read_progress(log)
        assert said.fraction == 0.75
        assert said.left_s >= 0
        assert said.words == "epoch 2 of 3"
        assert [path.name for path in log.parent.iterdir()] == [progress_path(log).name]
    assert list(log.parent.iterdir()) == []
    assert "CLEARICE_PROGRESS" not in os.environ
    assert read_progress(log) is None


def test_without_a_pace_no_time_is_promised(log):
    log.parent.mkdir()
    with progress_beside(log):
        ProgressFile(10).write(0)
        assert read_progress(log) == (0.0, None, "")


def test_a_job_that_starts_removes_what_a_killed_one_left(log):
    log.parent.mkdir()
    progress_path(log).write_text('{"fraction": 0.5, "left_s": 1, "words": ""}')
    with progress_beside(log):
        assert read_progress(log) is None


def test_a_folder_that_cannot_be_written_harms_nothing(log):
    with progress_beside(log):  # its folder does not exist
        ProgressFile(10).write(5)
        assert read_progress(log) is None


def test_outside_a_job_nothing_is_written(log, tmp_path):
    file = ProgressFile(10)
    assert not file.is_due()
    file.write(5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        "[" * 3000,
        '{"fraction": 2, "left_s": 1, "words": ""}',
        '{"fraction": NaN, "left_s": 1, "words": ""}',
        '{"fraction": 0.5, "left_s": -1, "words": ""}',
        '{"fraction": 0.5, "left_s": Infinity, "words": ""}',
        '{"fraction": 0.5, "left_s": "soon", "words": ""}',
        '{"fraction": null, "left_s": 1, "words": ""}',
    ],
)
def test_nonsense_counts_as_silence(log, text):
    log.parent.mkdir()
    progress_path(log).write_text(text)
    assert read_progress(log) is None
