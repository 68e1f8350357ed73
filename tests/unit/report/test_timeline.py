"""What ran when: jobs as bars, pauses cut out, and no timeline where a copy lost the times."""

from xml.etree import ElementTree

import pytest

from clearice.report.charts import timeline_svg
from clearice.report.costs.jobs import Job, step_table
from clearice.report.costs.timeline import busy_seconds, timeline

DAY = 86400


def job(step, seconds, ended):
    return Job(step, "name", seconds, None, ended)


def test_busy_time_counts_an_instant_once():
    jobs = [job("shards", 10, 10), job("shards", 4, 8), job("model", 5, 12)]
    assert busy_seconds(jobs) == 12
    assert busy_seconds([]) == 0


def test_bars_begin_at_the_first_job_and_pauses_are_cut_out():
    jobs = [job("model", 100, 1250), job("shards", 100, 1100), job("shards", 50, 1100 + DAY)]
    line = timeline(jobs)
    assert line.lanes == {
        "shards": [(0, 100, 1), (250, 300, 1)],
        "model": [(150, 250, 1)],
    }
    assert line.pauses == [(250, DAY - 200)]
    assert (line.length_s, line.busy_s) == (300, 250)  # the pause of 50 s stays
    assert (line.started, line.ended) == (1000, 1100 + DAY)


def test_a_lane_of_thousands_of_jobs_has_few_bars():
    jobs = [job("shards", 0.9, 1000 + k) for k in range(10_000)]
    (bar,) = timeline(jobs).lanes["shards"]
    assert bar == (0, pytest.approx(9999.9), 10_000)


def test_times_of_a_copy_give_no_timeline():
    copied = [job("shards", 3, 1000), job("model", 300, 1000.5)]
    assert timeline(copied) is None
    assert busy_seconds(copied) is None
    assert timeline([]) is None
    alone = [job("model", 300, 1000)]
    assert timeline(alone).length_s == 300


def test_the_figure_has_a_lane_per_step_and_says_the_pauses():
    jobs = [job("shards", 100, 1100), job("model", 50, 1100 + DAY)]
    svg = timeline_svg(timeline(jobs), step_table(jobs))
    text = " ".join(ElementTree.fromstring(svg).itertext())
    for words in ("shards", "model", "1 job, 50 s", "pause 23 h 59 min", "seconds of work"):
        assert words in text


def test_labels_of_pauses_that_are_near_do_not_overlap():
    jobs = [job("shards", 100, 1100), job("model", 1, 1100 + DAY), job("model", 100, 1300 + DAY)]
    line = timeline(jobs)
    assert len(line.pauses) == 2
    assert timeline_svg(line, step_table(jobs)).count("pause ") == 1
