"""Globs: what they find, whatever links there are, and why one finds nothing."""

import os

import pytest

from clearice.errors import InputError
from clearice.micrographs.finding.globs import matching_files


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(pattern, folder):
    return sorted(matching_files(pattern, folder))


def refusal(pattern, folder):
    with pytest.raises(InputError) as error:
        matching_files(pattern, folder)
    assert len(str(error.value)) < 500
    return str(error.value)


def test_two_stars_stand_for_any_folders_but_hidden_ones(tmp_path):
    touch(
        tmp_path, "x.mrc", "a/x.mrc", "a/b/x.mrc", ".h/x.mrc", "a/.h/x.mrc", "a/.x.mrc", "a/y.txt"
    )
    assert found("**/*.mrc", tmp_path) == ["a/b/x.mrc", "a/x.mrc", "x.mrc"]
    assert found("a/**/x.mrc", tmp_path) == ["a/b/x.mrc", "a/x.mrc"]
    assert found(f"{tmp_path}/a/**/b/*.mrc", tmp_path) == [f"{tmp_path}/a/b/x.mrc"]
    assert found("**/**/*.mrc", tmp_path) == found("**/*.mrc", tmp_path)
    assert found("**/a/**/x.mrc", tmp_path) == ["a/b/x.mrc", "a/x.mrc"]
    assert found("a/**", tmp_path) == ["a/b/x.mrc", "a/x.mrc", "a/y.txt"]


def test_links_that_lead_in_a_circle_are_followed_once(tmp_path):
    touch(tmp_path, "data/deep/x.mrc", "elsewhere/y.mrc")
    for number in range(5):
        (tmp_path / f"data/up{number}").symlink_to(".")
        (tmp_path / f"data/deep/top{number}").symlink_to(tmp_path / "data")
    (tmp_path / "data/itself").symlink_to("itself")
    (tmp_path / "data/a_link").symlink_to(tmp_path / "elsewhere")
    assert found("data/**/*.mrc", tmp_path) == ["data/a_link/y.mrc", "data/deep/x.mrc"]
    assert "data/deep/x.mrc" in found("**/deep/**/*.mrc", tmp_path)


def test_a_folder_has_the_path_that_no_link_leads_along(tmp_path):
    touch(tmp_path, "job/z/job002/x.mrc")
    (tmp_path / "job/alias").symlink_to("z/job002")
    assert found("job/**/*.mrc", tmp_path) == ["job/z/job002/x.mrc"]


def test_a_folder_that_cannot_be_read_hides_no_other(tmp_path):
    touch(tmp_path, "a/x.mrc", "b/y.mrc")
    os.chmod(tmp_path / "a", 0)
    try:
        assert "b/y.mrc" in found("**/*.mrc", tmp_path)
    finally:
        os.chmod(tmp_path / "a", 0o755)


@pytest.mark.parametrize(
    ("pattern", "what", "advice"),
    [
        ("data", "data is a folder", "data/*.mrc"),
        ("data/", "data/ is a folder", "data/*.mrc"),
        ("upper/*.mrc", "upper/*.MRC has 1", "upper/*.MRC"),
        ("mixed/*.mrc", "1 end in .Mrc", "mixed/*.Mrc"),
        ("session[1]/*.mrc", "brackets in a glob are a set of characters", "session[[]1]/*.mrc"),
        ("data/*.mrc ", "a blank before or after", "data/*.mrc"),
        ("data\\*.mrc", "a path with backslashes", "data/*.mrc"),
        ("packed/*.mrc", "1 files end in mrc.gz", "packed/*.mrc.gz"),
    ],
)
def test_the_true_reason_and_an_advice_that_works(tmp_path, pattern, what, advice):
    touch(tmp_path, "data/x.mrc", "upper/x.MRC", "mixed/x.Mrc", "session[1]/x.mrc")
    touch(tmp_path, "packed/x.mrc.gz")
    line = refusal(pattern, tmp_path)
    assert what in line
    assert f"; write {advice}" in line
    assert len(found(advice, tmp_path)) == 1


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("~/data/*.mrc", ["~ and variables", os.path.expanduser("~/data/*.mrc")]),
        ("$HOME/data/*.mrc", ["$HOME are not expanded", os.path.expandvars("$HOME/data/*.mrc")]),
        ("${NO_SUCH}/*.mrc", ["not expanded here", "write the whole path"]),
        ("a/*.mrc b/*.mrc", ["several globs in one text", '["a/*.mrc", "b/*.mrc"]']),
        ("a/*.mrc, b/*.mrc", ["several globs in one text", '["a/*.mrc", "b/*.mrc"]']),
        ("{a,b}/*.mrc", ["braces with commas are not expanded", "a list of globs"]),
        ("https://x.org/a.mrc", ["an address", "download"]),
        ("a/none/deep/*.mrc", ["none does not exist in"]),
        ("J1/micrographs.cs", ["cryoSPARC dataset", "export it as a .star"]),
        ("list.csv", ["a table with commas", ".tsv"]),
        ("x.tomostar", ["Warp table"]),
    ],
)
def test_other_reasons(tmp_path, pattern, words):
    touch(tmp_path, "a/x.mrc", "b/y.mrc", "J1/micrographs.cs", "list.csv", "x.tomostar")
    line = refusal(pattern, tmp_path)
    assert all(word in line for word in words), line


def test_a_path_with_brackets_is_taken_as_it_stands(tmp_path):
    touch(tmp_path, "session[1]/Position_1[-61_00].mrc")
    path = "session[1]/Position_1[-61_00].mrc"
    assert found(path, tmp_path) == [path]
