"""What a STAR file states about the pixel size, in the words of several versions of RELION."""

import pytest

from clearice.config import complete_config
from clearice.errors import InputError
from clearice.micrographs.finding import tables
from clearice.micrographs.finding.sources import find_micrographs

LOOP = "data_{}\n\nloop_\n"


def star(path, optics, columns, rows):
    """Write a STAR file: `optics` is the text of that block, `columns` and `rows` of the other."""
    names = "".join(f"_rln{column} #{i}\n" for i, column in enumerate(columns, 1))
    path.write_text(optics + LOOP.format("micrographs") + names + "\n".join(rows) + "\n")
    return path


def optics(*columns_and_rows):
    columns, *rows = columns_and_rows
    names = "".join(f"_rln{name} #{i}\n" for i, name in enumerate(columns.split(), 1))
    return LOOP.format("optics") + names + "\n".join(rows) + "\n\n"


ROWS = ["a.mrc 1", "b.mrc 2", "c.mrc 1"]
GROUPS = ("MicrographName", "OpticsGroup")
SINGLE = "data_optics\n\n_rlnOpticsGroup 1\n_rlnMicrographPixelSize 0.885\n\n"
CASES = {
    "one group": (optics("OpticsGroup MicrographPixelSize", "1 0.885"), [0.885, None, 0.885]),
    "two groups": (
        optics("MicrographPixelSize OpticsGroupName OpticsGroup", "1.06 g 1", "0.5 h 2"),
        [1.06, 0.5, 1.06],
    ),
    "a block that is no loop": (SINGLE, [0.885, None, 0.885]),
    "the movie's": (optics("OpticsGroup MicrographOriginalPixelSize", "1 0.4"), [None] * 3),
    "no number": (optics("OpticsGroup MicrographPixelSize", "1 None", "2 -1"), [None] * 3),
    "no optics groups": ("", [None] * 3),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_optics_groups(tmp_path, name):
    text, expected = CASES[name]
    _, sizes = tables.columns_of_star(star(tmp_path / "m.star", text, GROUPS, ROWS))
    assert sizes == expected
    blocks = tables.text_of_star(tmp_path / "m.star")
    assert tables.stated_pixel_sizes(blocks, blocks["micrographs"]) == expected


def test_tables_of_before_optics_groups(tmp_path):
    columns = ("MicrographName", "Magnification", "DetectorPixelSize")
    path = star(tmp_path / "m.star", "", columns, ["a.mrc 50000.0 5.0", "b.mrc 0 5.0"])
    assert tables.columns_of_star(path)[1] == [pytest.approx(1.0), None]
    columns = ("MicrographName", "MicrographPixelSize")
    path = star(tmp_path / "m.star", "", columns, ["a.mrc 1.7", "b.mrc 1.8"])
    assert tables.columns_of_star(path)[1] == [1.7, 1.8]


@pytest.mark.parametrize("listed", ["{}.mrc", "{}_EVN.mrc"])
def test_every_micrograph_gets_the_size_of_its_group(tmp_path, listed):
    for name in "ba":
        for half in ("", "_EVN", "_ODD"):
            (tmp_path / f"{name}{half}.mrc").touch()
    text = optics("OpticsGroup MicrographPixelSize", "1 0.885", "2 1.06")
    rows = [f"{listed.format('b')} 1", f"{listed.format('a')} 2"]
    if "EVN" in listed:
        rows += ["b_ODD.mrc 1", "a_ODD.mrc 2"]
    star(tmp_path / "m.star", text, GROUPS, rows)
    halves = {"input": "_EVN", "target": "_ODD"}
    config = {"micrographs": {"source": "files", "files": "m.star", "halves": halves}}
    found = find_micrographs(complete_config(config), tmp_path)
    assert {name: m.pixel_size_angstrom for name, m in found.items()} == {"a": 1.06, "b": 0.885}
    assert {m.target for m in found.values()} == {"a_ODD.mrc", "b_ODD.mrc"}


def test_a_table_without_micrographs_is_still_refused(tmp_path):
    (tmp_path / "m.star").write_text(optics("OpticsGroup MicrographPixelSize", "1 0.885"))
    with pytest.raises(InputError, match="no micrographs in this STAR file"):
        tables.columns_of_star(tmp_path / "m.star")
