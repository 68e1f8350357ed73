"""How far a run is, and how long it still takes."""

import json

from clearice.job_progress import progress_path
from snakemake_logger_plugin_clearice.tally import Tally, exit_status_in


def say(log, fraction, left_s):
    content = {"fraction": fraction, "left_s": left_s, "words": "epoch 1 of 2"}
    progress_path(log).write_text(json.dumps(content))


def test_time_left_is_that_of_the_pace_of_finished_jobs():
    tally = Tally()
    tally.plan({"shard_micrograph": 10, "total": 10})
    for job in range(10):
        tally.start(job, "shard_micrograph", f"m{job}", None, now=0.0)
    (rule,) = tally.active()
    assert rule.left_s(5.0) is None
    for job in range(4):
        tally.finish(job, now=8.0)
    assert tally.ended() == []
    assert rule.left_s(8.0) == 12.0
    assert rule.left_s(10.0) == 10.0
    assert rule.left_s(30.0) is None  # slower than before: nobody knows
    assert rule.fraction == 0.4


def test_a_training_says_itself_how_long_it_takes(tmp_path):
    log, tally = str(tmp_path / "train_denoiser.log"), Tally()
    tally.plan({"train_denoiser": 1, "total": 1})
    tally.start(1, "train_denoiser", "simple_cnn", log, now=0.0)
    say(log, 0.25, 60.0)
    tally.look(now=10.0)
    (rule,) = tally.active()
    assert rule.fraction == 0.25
    assert rule.left_s(10.0) == 60.0
    assert rule.left_s(15.0) == 55.0  # while it evaluates it says nothing new
    tally.finish(1, now=80.0)
    assert tally.ended() == [rule]
    assert tally.active() == []


def test_what_a_killed_job_left_is_not_taken_for_the_new_one(tmp_path):
    log, tally = str(tmp_path / "train_denoiser.log"), Tally()
    say(log, 0.9, 5.0)
    tally.start(1, "train_denoiser", "simple_cnn", log, now=0.0)
    tally.look(now=1.0)
    (rule,) = tally.active()
    assert rule.fraction == 0.0
    say(log, 0.1, 100.0)
    tally.look(now=2.0)
    assert rule.fraction == 0.1


def test_jobs_that_a_checkpoint_adds_are_counted():
    tally = Tally()
    tally.plan({"list_micrographs": 1, "total": 1})
    tally.start(1, "list_micrographs", "", None, now=0.0)
    tally.finish(1, now=1.0)
    assert [rule.name for rule in tally.ended()] == ["list_micrographs"]
    tally.advance(1, 3)
    tally.start(2, "denoise_micrograph", "m1", None, now=1.0)
    tally.finish(2, now=2.0)
    rule = tally.rules["denoise_micrograph"]
    assert not tally.is_known(rule)
    assert tally.ended() == []  # one of one is not all: a third job is to come
    tally.start(3, "denoise_micrograph", "m2", None, now=2.0)
    assert tally.is_known(rule)
    tally.finish(3, now=3.0)
    assert tally.ended() == [rule]
    assert tally.ended(at_the_end=True) == []
    assert rule.total == 2


def test_a_job_that_is_tried_again_is_one_job():
    tally = Tally()
    tally.plan({"train_denoiser": 1, "total": 1})
    for attempt in range(3):
        tally.start(7, "train_denoiser", "simple_cnn", None, now=float(attempt))
        assert tally.fail(7).title == "train_denoiser simple_cnn"
    tally.start(7, "train_denoiser", "simple_cnn", None, now=9.0)
    tally.finish(7, now=10.0)
    assert [rule.total for rule in tally.ended()] == [1]


def test_what_snakemake_says_of_a_killed_job():
    text = "Command '... python /r/.snakemake/scripts/tmpx_1.train_denoiser.py' {}."
    killed = text.format("died with <Signals.SIGKILL: 9>")
    assert exit_status_in(killed) == ("train_denoiser", -9)
    failed = text.format("returned non-zero exit status 1")
    assert exit_status_in(failed) == ("train_denoiser", 1)
    in_turn = "Command 'shard_micrograph.py' returned non-zero exit status 137."
    assert exit_status_in(in_turn) == ("shard_micrograph", 137)
    assert exit_status_in("MissingInputException in rule all") == (None, None)
