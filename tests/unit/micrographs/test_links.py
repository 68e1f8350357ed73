"""Links to one file are one micrograph, listed once."""

import os

import pytest

from clearice.config import complete_config
from clearice.micrographs.finding.links import links_in_words
from clearice.micrographs.finding.sources import find_micrographs

HALVES = {"input": "_EVN", "target": "_ODD"}


def find(folder, files, halves=None):
    section = {"source": "files", "files": files, "halves": halves}
    return find_micrographs(complete_config({"micrographs": section}), folder)


@pytest.fixture
def job(tmp_path):
    """A project with a job of two micrographs and their halves, and an alias of that job."""
    movies = tmp_path / "MotionCorr" / "job002" / "Movies"
    movies.mkdir(parents=True)
    for name in ("a", "a_EVN", "a_ODD", "b", "b_EVN", "b_ODD"):
        (movies / f"{name}.mrc").write_text(name)
    (movies.parents[1] / "first_try").symlink_to("job002")
    return tmp_path


def test_an_alias_of_a_job_is_that_job(job):
    found = find(job, "MotionCorr/*/Movies/[ab].mrc")
    assert [m.input for m in found.values()] == [
        f"MotionCorr/job002/Movies/{name}.mrc" for name in "ab"
    ]
    assert found["a"].links == ("MotionCorr/first_try/Movies/a.mrc",)
    words = links_in_words(found)
    assert words.startswith("2 links to files that are listed once: MotionCorr/first_try/")
    assert "a.mrc is MotionCorr/job002/Movies/a.mrc" in words


def test_links_above_the_job_are_no_reason_to_prefer_an_alias(job, tmp_path_factory):
    above = tmp_path_factory.mktemp("above") / "data"
    above.symlink_to(job)
    found = find(job, f"{above}/MotionCorr/*/Movies/[ab].mrc")
    assert [m.input for m in found.values()] == [
        f"{above}/MotionCorr/job002/Movies/{name}.mrc" for name in "ab"
    ]


def test_pairs_and_tables_meet_an_alias_too(job):
    found = find(job, "MotionCorr/*/Movies/*_[EO]??.mrc", HALVES)
    assert {m.target for m in found.values()} == {
        f"MotionCorr/job002/Movies/{name}_ODD.mrc" for name in "ab"
    }
    rows = [f"MotionCorr/{folder}/Movies/a.mrc 1" for folder in ("first_try", "job002")]
    lines = ["data_micrographs", "", "loop_", "_rlnMicrographName #1", "_rlnOpticsGroup #2", *rows]
    (job / "m.star").write_text("\n".join(lines) + "\n")
    (only,) = find(job, "m.star").values()
    assert only.input == rows[1].split()[0]


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_of_another_name_is_the_file_too(tmp_path, monkeypatch, link):
    monkeypatch.chdir(tmp_path)
    for name in ("m", "n"):
        (tmp_path / f"{name}.mrc").write_text(name)
    link("m.mrc", "z.mrc")
    found = find(tmp_path, "*.mrc")
    assert list(found) == ["m", "n"]
    assert found["m"].links == ("z.mrc",)


def test_files_that_are_alike_or_absent_are_no_links(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.mrc").write_text("the same")
        (tmp_path / f"gone_{name}.mrc").symlink_to("nowhere")
    found = find(tmp_path, "*.mrc")
    assert list(found) == ["a", "b", "gone_a", "gone_b"]
    assert links_in_words(found) is None


def test_a_half_that_is_a_link_to_the_other_stays_a_pair(tmp_path):
    (tmp_path / "a_EVN.mrc").write_text("a")
    (tmp_path / "a_ODD.mrc").symlink_to("a_EVN.mrc")
    found = find(tmp_path, "*.mrc", HALVES)
    assert (found["a"].input, found["a"].target, found["a"].links) == ("a_EVN.mrc", "a_ODD.mrc", ())
