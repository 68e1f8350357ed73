import os
import subprocess
import sys

import pytest

from clearice.errors import InputError
from clearice.micrographs.finding.sources import MicrographFiles, find_micrographs, micrograph_name
from conftest import REPOSITORY

SUFFIXES = {"input": "_EVN", "target": "_ODD"}
FOLDERS = {"input": "even/", "target": "odd/"}


def config(files=None, halves=None, target="synthetic_noise", source="files", on_error="stop"):
    section = {
        "source": source,
        "files": files,
        "halves": halves,
        "on_error": on_error,
        "settle_minutes": 0,
    }
    return {
        "micrographs": section,
        "simulation": {"count": 2},
        "empiar": {"entry": "10025"},
        "patches": {"target": target},
    }


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/May08_05.53.51_rest.mrc", "May08_05.53.51_rest"),
        ("a.mrc.gz", "a"),
        ("a.b.map.bz2", "a.b"),
        ("a", "a"),
    ],
)
def test_a_micrograph_is_named_by_its_stem(path, name):
    assert micrograph_name(path) == name


def test_simulated_pairs_have_a_truth():
    found = find_micrographs(config(source="simulation", target="halves"))
    assert list(found) == ["sim_0001", "sim_0002"]
    assert found["sim_0002"] == MicrographFiles(
        "sim_0002",
        "results/micrographs/sim_0002_EVN.mrc",
        "results/micrographs/sim_0002_ODD.mrc",
        "results/micrographs/sim_0002_truth.mrc",
        "results/micrographs/sim_0002_centres.tsv",
    )


def test_published_micrographs_come_from_the_listing(monkeypatch):
    listing = type(sys)("clearice.micrographs.empiar.listing")
    listing.list_entry = lambda empiar, directory, **how: ["b.mrc.gz", "a.mrc"]
    monkeypatch.setitem(sys.modules, "clearice.micrographs.empiar.listing", listing)
    monkeypatch.setattr("clearice.micrographs.empiar.listing", listing, raising=False)
    found = find_micrographs(config(source="empiar"))
    assert [files.input for files in found.values()] == [
        "results/micrographs/a.mrc",
        "results/micrographs/b.mrc.gz",
    ]
    with pytest.raises(InputError, match=r"needs pairs; 2 micrographs.*\(a, b\)"):
        find_micrographs(config(source="empiar", target="halves"))


def test_globs_give_single_micrographs_in_the_order_of_names(tmp_path):
    touch(tmp_path, "b/10.mrc", "a/9.mrc", "a/deep/11.mrc.gz", "a/notes.txt")
    found = find_micrographs(config(["a/**/*.mrc*", "b/*.mrc", "b/10.mrc"]), tmp_path)
    assert {name: files.input for name, files in found.items()} == {
        "10": "b/10.mrc",
        "11": "a/deep/11.mrc.gz",
        "9": "a/9.mrc",
    }


@pytest.mark.parametrize("order", [1, -1])
def test_suffixes_pair_by_name_whatever_the_order(tmp_path, order):
    touch(tmp_path, *["m10_ODD.mrc", "m10_EVN.mrc", "m9_EVN.mrc", "m9_ODD.mrc.gz"][::order])
    found = find_micrographs(config("*.mrc*", SUFFIXES, "halves"), tmp_path)
    assert found == {
        "m10": MicrographFiles("m10", "m10_EVN.mrc", "m10_ODD.mrc"),
        "m9": MicrographFiles("m9", "m9_EVN.mrc", "m9_ODD.mrc.gz"),
    }


def test_a_suffix_may_end_in_the_other(tmp_path):
    touch(tmp_path, "m_a.mrc", "m_b_a.mrc")
    found = find_micrographs(config("*.mrc", {"input": "_a", "target": "_b_a"}), tmp_path)
    assert found == {"m": MicrographFiles("m", "m_a.mrc", "m_b_a.mrc")}


def test_two_folders_pair_by_name(tmp_path):
    touch(tmp_path, *(f"average/{half}/{name}.mrc" for half in ("even", "odd") for name in "xy"))
    found = find_micrographs(config("average/*/*.mrc", FOLDERS, "halves"), tmp_path)
    assert found["x"] == MicrographFiles("x", "average/even/x.mrc", "average/odd/x.mrc")
    assert list(found) == ["x", "y"]


@pytest.mark.parametrize(
    ("halves", "names", "culprits"),
    [
        (SUFFIXES, ["a_EVN.mrc", "a_ODD.mrc", "b_EVN.mrc", "c_ODD.mrc"], "b_EVN.mrc, c_ODD.mrc"),
        (SUFFIXES, ["a_EVN.mrc", "a_ODD.mrc", "a.mrc", "_EVN.mrc"], "_EVN.mrc, a.mrc"),
        (SUFFIXES, ["p/a_EVN.mrc", "q/a_ODD.mrc"], "p/a_EVN.mrc, q/a_ODD.mrc"),
        (FOLDERS, ["even/a.mrc", "odd/b.mrc"], "even/a.mrc, odd/b.mrc"),
        (FOLDERS, ["p/even/a.mrc", "q/odd/a.mrc"], "p/even/a.mrc, q/odd/a.mrc"),
    ],
)
def test_files_without_a_partner_are_all_listed(tmp_path, halves, names, culprits):
    touch(tmp_path, *names)
    with pytest.raises(InputError, match="without a partner") as error:
        find_micrographs(config("**/*.mrc", halves), tmp_path)
    assert f"({culprits})" in str(error.value)


def test_names_that_occur_twice_are_all_listed(tmp_path):
    touch(tmp_path, "p/a.mrc", "q/a.mrc", "p/b.mrc", "q/b.mrc.gz", "p/c.mrc")
    with pytest.raises(InputError, match="2 micrograph names occur twice") as error:
        find_micrographs(config("**/*.mrc*"), tmp_path)
    assert "a (p/a.mrc, q/a.mrc); b (p/b.mrc, q/b.mrc.gz)" in str(error.value)
    touch(tmp_path, "h/d_EVN.mrc", "h/d_EVN.mrc.gz", "h/d_ODD.mrc")
    with pytest.raises(InputError, match=r"d occurs 2 times \(h/d_EVN.mrc, h/d_EVN.mrc.gz\)"):
        find_micrographs(config("h/*", SUFFIXES), tmp_path)


def test_names_that_no_table_can_hold_are_refused(tmp_path):
    touch(tmp_path, "a\nb.mrc", "c\u2028d.mrc", "fine  name .mrc")
    (tmp_path / os.fsdecode(b"\xe5.mrc")).touch()
    with pytest.raises(InputError, match=r"3 names cannot be used") as error:
        find_micrographs(config("*.mrc"), tmp_path)
    assert "('a\\nb', 'c\\u2028d', '\\udce5')" in str(error.value)
    (tmp_path / os.fsdecode(b"\xe5")).mkdir()
    touch(tmp_path, os.fsdecode(b"\xe5/x.mrc"))
    with pytest.raises(InputError, match=r"1 paths are not UTF-8 \('\\udce5/x.mrc'\)"):
        find_micrographs(config("*/*.mrc"), tmp_path)


def test_nothing_found_says_where_it_looked(tmp_path):
    with pytest.raises(InputError, match=rf"none for \*\.mrc in {tmp_path}"):
        find_micrographs(config("*.mrc"), tmp_path)
    with pytest.raises(InputError, match=r"micrographs.files is empty"):
        find_micrographs(config(None), tmp_path)


def test_a_table_names_its_pairs(tmp_path):
    touch(tmp_path, "data/p.mrc", "data/q.mrc", "data/r.mrc")
    table = tmp_path / "data" / "pairs.tsv"
    table.write_text("micrograph\tinput\ttarget\tnote\none\tdata/q.mrc\tp.mrc\tx\ntwo\tr.mrc\t\t\n")
    found = find_micrographs(config("data/pairs.tsv"), tmp_path)
    assert found == {
        "one": MicrographFiles("one", "data/q.mrc", "data/p.mrc"),
        "two": MicrographFiles("two", "data/r.mrc"),
    }
    with pytest.raises(InputError, match=r"needs pairs; 1 micrographs.*\(two\)"):
        find_micrographs(config("data/pairs.tsv", target="halves"), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\tinput\na\tb\n", "columns micrograph, input.*found input, name"),
        ("micrograph\tinput\n", "found no rows"),
        ("micrograph\tinput\na\tp.mrc\nb\t\n\tp.mrc\n", "no micrograph or no input in line 3, 4"),
        ("micrograph\tinput\na\tx.mrc\nb\ty.mrc\n", r"2 files.*missing \(x.mrc, y.mrc\)"),
        ("micrograph\tinput\na\tp.mrc\na\tp.mrc\n", "occur twice: a"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, text, message):
    touch(tmp_path, "p.mrc")
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        find_micrographs(config("t.tsv"), tmp_path)


def test_with_skip_a_missing_file_is_left_to_be_rejected_unless_all_are(tmp_path):
    touch(tmp_path, "p.mrc")
    (tmp_path / "t.tsv").write_text("\ufeffmicrograph\tinput\na\tp.mrc\nb\tgone.mrc\n", "utf-8")
    found = find_micrographs(config("t.tsv", on_error="skip"), tmp_path)
    assert [files.input for files in found.values()] == ["p.mrc", "gone.mrc"]
    with pytest.raises(InputError, match=r"1 files.*missing \(gone.mrc\)"):
        find_micrographs(config("t.tsv"), tmp_path)
    (tmp_path / "p.mrc").unlink()
    with pytest.raises(InputError, match=r"2 files.*missing \(p.mrc, gone.mrc\)"):
        find_micrographs(config("t.tsv", on_error="skip"), tmp_path)


def test_a_link_to_nothing_is_found_and_a_folder_is_not(tmp_path):
    touch(tmp_path, "a.mrc")
    (tmp_path / "b.mrc").symlink_to("gone.mrc")
    (tmp_path / "c.mrc").mkdir()
    assert list(find_micrographs(config("*.mrc"), tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("row", [b"\xe5\tp.mrc", b'a\t"p'])
def test_a_table_that_is_no_text_is_refused_in_one_line(tmp_path, row):
    (tmp_path / "t.tsv").write_bytes(b"micrograph\tinput\n" + row)
    with pytest.raises(InputError, match=r"t\.tsv: not .*UTF-8 text"):
        find_micrographs(config("t.tsv"), tmp_path)


def write_star(path, *columns):
    names = [f"_{name} #{number}" for number, (name, _) in enumerate(columns, 1)]
    rows = [" ".join(row) for row in zip(*(values for _, values in columns), strict=True)]
    lines = ["data_optics", "", "loop_", "_rlnOpticsGroup #1", "1", "", "data_micrographs", ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, "loop_", *names, *rows, ""]))


def test_a_star_file_names_micrographs_of_its_project(tmp_path):
    touch(tmp_path, "project/Motion/job2/a.mrc", "project/Motion/job2/b.mrc")
    star = tmp_path / "project" / "Motion" / "job2" / "corrected_micrographs.star"
    names = ["Motion/job2/b.mrc", "Motion/job2/a.mrc"]
    write_star(star, ("rlnMicrographName", names), ("rlnOpticsGroup", ["1", "1"]))
    found = find_micrographs(config("project/Motion/job2/corrected_micrographs.star"), tmp_path)
    assert {name: files.input for name, files in found.items()} == {
        "a": "project/Motion/job2/a.mrc",
        "b": "project/Motion/job2/b.mrc",
    }


@pytest.mark.parametrize(
    ("halves", "sides"),
    [(SUFFIXES, ["m/a_EVN.mrc", "m/a_ODD.mrc"]), (FOLDERS, ["m/even/a.mrc", "m/odd/a.mrc"])],
)
def test_a_star_file_of_averages_stands_for_their_halves(tmp_path, halves, sides):
    touch(tmp_path, "m/a.mrc", *sides)
    write_star(tmp_path / "m.star", ("rlnMicrographName", ["m/a.mrc"]))
    found = find_micrographs(config("m.star", halves, "halves"), tmp_path)
    assert found == {"a": MicrographFiles("a", *sides)}


def test_a_star_file_of_halves_is_paired_by_name(tmp_path):
    touch(tmp_path, "m/a_EVN.mrc", "m/a_ODD.mrc")
    write_star(tmp_path / "m.star", ("rlnMicrographName", ["m/a_ODD.mrc", "m/a_EVN.mrc"]))
    found = find_micrographs(config("m.star", SUFFIXES, "halves"), tmp_path)
    assert found == {"a": MicrographFiles("a", "m/a_EVN.mrc", "m/a_ODD.mrc")}


def test_even_and_odd_columns_of_a_star_file_are_pairs(tmp_path):
    touch(tmp_path, "e/1.mrc", "o/9.mrc")
    columns = {"Name": "sum/a.mrc", "NameEven": "e/1.mrc", "NameOdd": "o/9.mrc"}
    write_star(tmp_path / "m.star", *((f"rlnMicrograph{n}", [p]) for n, p in columns.items()))
    found = find_micrographs(config("m.star", None, "halves"), tmp_path)
    assert found == {"a": MicrographFiles("a", "e/1.mrc", "o/9.mrc")}


def test_star_files_that_do_not_fit_are_refused(tmp_path):
    write_star(tmp_path / "m.star", ("rlnMicrographName", ["x.mrc", "y.mrc"]))
    with pytest.raises(InputError, match=r"2 files.*missing \(x.mrc, y.mrc\)"):
        find_micrographs(config("m.star"), tmp_path)
    write_star(tmp_path / "p.star", ("rlnCoordinateX", ["1"]))
    with pytest.raises(InputError, match=r"no micrographs in this STAR file.*rlnMicrographName"):
        find_micrographs(config("p.star"), tmp_path)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        find_micrographs(config("absent.star"), tmp_path)


def test_parsing_the_snakefile_stays_light():
    """Every job of a workflow parses the Snakefile again: no NumPy, no pandas for globs."""
    code = (
        "import sys; sys.path.insert(0, 'workflow/scripts'); "
        "import clearice.micrographs.finding.sources; "
        "print(sorted({'numpy', 'pandas', 'starfile', 'mrcfile'} & set(sys.modules)))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "[]"
