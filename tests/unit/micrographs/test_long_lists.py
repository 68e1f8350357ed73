"""What goes wrong for thousands of files is said in one line that a person can read."""

import pytest

from clearice.dataset.splits import read_test_micrographs
from clearice.errors import InputError
from clearice.micrographs.finding.sources import find_micrographs

HALVES = {"input": "_EVN", "target": "_ODD"}
MANY = 3000


def config(files, halves=None, target="synthetic_noise", on_error="stop"):
    section = {
        "source": "files",
        "files": files,
        "halves": halves,
        "on_error": on_error,
        "settle_minutes": 0,
    }
    return {"micrographs": section, "patches": {"target": target}}


def refusal(call):
    with pytest.raises(InputError) as error:
        call()
    line = str(error.value)
    assert len(line) < 2000
    assert "\n" not in line
    return line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """3,000 averages, a table of as many that are missing, names twice, and odd names."""
    folder = tmp_path_factory.mktemp("many")
    for name in ("data", "again", "odd"):
        (folder / name).mkdir()
    for number in range(MANY):
        name = f"FoilHole_{number:08d}_Data_{number}_Fractions.mrc"
        (folder / "data" / name).touch()
        (folder / "again" / name).touch()
        (folder / "odd" / name.replace("_Data", "\t")).touch()
    names = [f"Movies/gone{number}.mrc" for number in range(MANY)]
    (folder / "gone.star").write_text(
        "\n".join(["data_micrographs", "", "loop_", "_rlnMicrographName #1", *names, ""])
    )
    rows = [f"m{number}\t{name}" for number, name in enumerate(names)]
    (folder / "gone.tsv").write_text("\n".join(["micrograph\tinput", *rows, ""]))
    (folder / "empty.tsv").write_text("micrograph\tinput\n" + "m\t\n" * MANY)
    (folder / "names.txt").write_text("\n".join(names))
    return folder


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (("data/*.mrc", HALVES), "3,000 files without a partner"),
        (("data/*.mrc", None, "halves"), "3,000 micrographs have no other half"),
        (("*a*/*.mrc",), "3,000 micrograph names occur twice"),
        (("odd/*.mrc",), "3,000 names cannot be used"),
        (("gone.star",), "3,000 files that it names are missing"),
        (("gone.tsv", None, "halves", "skip"), "3,000 files that it names are missing"),
        (("empty.tsv",), "no micrograph or no input in line 2, 3"),
    ],
)
def test_ten_names_and_the_number_of_the_rest(folder, arguments, count):
    line = refusal(lambda: find_micrographs(config(*arguments), folder))
    assert count in line
    assert "and 2,990 more" in line


def test_test_names_that_are_unknown(folder):
    line = refusal(lambda: read_test_micrographs(folder / "names.txt", {"a"}))
    assert "3,000 unknown micrographs: Movies/gone0.mrc" in line
    assert "and 2,990 more" in line


def particles(path, n_particles, names, columns=("rlnCoordinateX", "rlnMicrographName")):
    loop = [f"_{column} #{number}" for number, column in enumerate(columns, 1)]
    rows = [f"{n}.5 {name}" for name in names for n in range(n_particles)]
    path.write_text("\n".join(["data_particles", "", "loop_", *loop, *rows, ""]))


def test_a_table_of_particles_gives_each_micrograph_once_with_a_word(tmp_path):
    for name in "xyz":
        (tmp_path / f"{name}.mrc").touch()
    particles(tmp_path / "particles.star", 300, ["x.mrc", "y.mrc", "z.mrc"])
    said = []
    found = find_micrographs(config("particles.star"), tmp_path, said.append)
    assert [files.input for files in found.values()] == ["x.mrc", "y.mrc", "z.mrc"]
    assert said == ["particles.star: 900 rows name 3 micrographs: each is taken once"]


@pytest.mark.parametrize(
    ("column", "word"),
    [
        ("rlnCoordinateY", "coordinates of particles"),
        ("rlnMicrographMovieName", "movies"),
        ("rlnTomoName", "tomograms"),
    ],
)
def test_other_star_files_are_called_what_they_are(tmp_path, column, word):
    particles(tmp_path / "other.star", 2, ["x"], ("rlnCoordinateX", column))
    line = refusal(lambda: find_micrographs(config("other.star"), tmp_path))
    assert f"no micrographs in this STAR file: {word}" in line


def test_a_star_file_that_is_called_tsv_and_the_other_way_round(tmp_path):
    particles(tmp_path / "particles.tsv", 2, ["x.mrc"])
    line = refusal(lambda: find_micrographs(config("particles.tsv"), tmp_path))
    assert "a STAR file, not a tab-separated table; name it .star" in line
    (tmp_path / "pairs.star").write_text("micrograph\tinput\nx\tx.mrc\n")
    line = refusal(lambda: find_micrographs(config("pairs.star"), tmp_path))
    assert "a tab-separated table, not a STAR file; name it .tsv" in line
