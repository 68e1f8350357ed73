"""What does not belong to the set is named, with a way out; what belongs is never complained of."""

import fnmatch

import pytest
import yaml

from clearice.micrographs.finding.narrowing import narrowed
from clearice.micrographs.whole_set.collection import Member, compare, in_words, pixel_size_warnings

SECTION = {"source": "files", "files": "Movies/*.mrc", "halves": None, "mixed": "stop"}


def members(count, height_px=4096, width_px=4096, size=1.0, name="s_{:05d}", stated=None):
    return [
        Member(name.format(number), height_px, width_px, size, stated) for number in range(count)
    ]


def setting(text):
    """Return the globs of micrographs.files that a message advises."""
    value = text.split("micrographs.files to ")[1].split("; or ")[0].split(" and micro")[0]
    globs = yaml.safe_load(value)
    return [globs] if isinstance(globs, str) else globs


def found_by(globs, names):
    return {n for n in names if any(fnmatch.fnmatch(f"Movies/{n}.mrc", glob) for glob in globs)}


GOOD = {
    "one camera": members(20, 7420, 7676, 0.6575),
    "a turned camera": members(9, 4092, 5760) + members(9, 5760, 4092, name="t_{}"),
    "cut edges": members(9, 3710, 3838) + members(9, 3838, 3710, name="t_{}")
    + members(9, 3708, 3830, name="u_{}"),
    "rounded pixel sizes": members(9, size=0.6575) + members(9, size=0.66, name="t_{}"),
    "sizes that nothing gives": members(9, size=None) + members(9, size=1.2, name="t_{}"),
    "one micrograph": members(1),
    "none": [],
    "calibrated by a table": members(9, size=1.06, stated=1.066),
    "names of EPU": members(30, name="FoilHole_24015405_Data_24016401_{:04d}_Fractions_DW"),
    "names of Leginon": members(30, name="14sep05c_c_00003gr_00014sq_{:05d}hl_00002es.frames"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_one_set_raises_no_doubt(name):
    found = compare(GOOD[name], SECTION)
    assert (found.warnings, found.lines, found.fault) == ({}, [], None)


MIXED = {
    "power spectra": (members(9), members(9, 512, 512, name="s_{:05d}_PS")),
    "spectra as large as the image": (members(9), members(9, name="s_{:05d}_PS")),
    "more thumbnails than images": (
        members(9),
        members(9, 512, 512, 8.0, "s_{:05d}_thumb") + members(9, 512, 512, 8.0, "s_{:05d}_ctf"),
    ),
    "thumbnails with names of their own": (members(9), members(5, 512, 512, name="t{}a")),
    "backgrounds": (
        members(9, name="{:04d}_patch_aligned"),
        members(9, 400, 400, name="{:04d}_patch_aligned_background"),
    ),
    "4K and 8K of one session": (members(20), members(4, 8192, 8192, 0.5, "s_{:05d}-super")),
    "another magnification": (members(20), members(4, size=1.4, name="s_{:05d}b")),
    "stated sizes": (
        members(20, stated=0.9),
        members(4, stated=1.4, name="t_{:05d}x"),
    ),
}


@pytest.mark.parametrize("name", MIXED)
def test_a_mixture_stops_and_the_advice_finds_the_set_alone(name):
    good, odd = MIXED[name]
    names = {m.name for m in good + odd}
    found = compare(odd + good, SECTION)
    text = str(found.fault)
    assert f"{len(odd)} of {len(names)} micrographs are not like the others" in text
    assert in_words(good) in text
    assert min(m.name for m in odd) in text
    assert found_by(setting(text), names) == {m.name for m in good}
    assert set(found.warnings) >= {m.name for m in odd}
    warned = compare(odd + good, SECTION | {"mixed": "warn"})
    assert warned.fault is None
    assert (warned.warnings, warned.lines) == (found.warnings, found.lines)


def test_few_odd_ones_among_thousands_are_a_warning():
    for odd in (members(1, 512, 512, name="x{}"), members(1, size=10.6, name="x{}")):
        found = compare(members(3) + odd, SECTION)
        assert found.fault is None
        assert list(found.warnings) == ["x0"]
        assert len(found.lines) == 1
    odd = members(9, size=2.0, name="x{}")
    assert compare(members(2000) + odd, SECTION).fault is None
    assert compare(members(800) + odd, SECTION).fault is not None


def test_what_is_rejected_anyway_is_no_mixture():
    odd, good = members(5, 512, 512, name="x{}"), members(20)
    found = compare(good + odd, SECTION, {m.name for m in good})
    assert found.fault is None
    assert set(found.warnings) == {m.name for m in odd}


def test_another_shape_or_a_slightly_other_size_is_a_warning():
    other = members(9, 4092, 5760, name="k3_{}") + members(4, size=1.05, name="b_{}")
    found = compare(members(20) + other, SECTION)
    assert found.fault is None
    assert found.warnings["k3_0"] == ["4092 x 5760 px, where most are 4096 x 4096"]
    assert found.warnings["b_0"] == ["pixel size 1.05 angstrom, where most have 1"]
    assert len(found.lines) == 2


@pytest.mark.parametrize("words", [("", "_DW"), ("", "_DW", "_DWS"), ("_DW", "_noDW")])
def test_sums_of_one_exposure_are_a_warning_with_a_way_out(words):
    found_members = [m for word in words for m in members(9, name="s_{:05d}" + word)]
    found = compare(found_members, SECTION)
    assert found.fault is None
    assert set(found.warnings) == {m.name for m in found_members[9:]}
    assert "of one exposure with s_00000" in found.warnings["s_00000" + words[1]][0]
    chosen = found_by(setting(found.lines[-1]), {m.name for m in found_members})
    assert len(chosen) == 9
    assert len({name[:7] for name in chosen}) == 9


@pytest.mark.parametrize("words", [("_EVN", "_ODD"), ("", "_EVN", "_ODD"), ("_even", "_odd")])
def test_halves_that_are_not_paired_are_told_how(words):
    found = compare([m for w in words for m in members(9, name="s_{:05d}" + w)], SECTION)
    assert found.fault is None
    advice = found.lines[-1]
    assert setting(advice) == [f"Movies/*{word}.mrc" for word in words[-2:]]
    halves = yaml.safe_load(advice.split("micrographs.halves to ")[1])
    assert halves == {"input": words[-2], "target": words[-1]}


def test_a_table_and_a_header_that_differ_are_both_named():
    off, warnings = pixel_size_warnings(1.0, 0.885)
    assert off == pytest.approx(1 / 0.885 - 1)
    assert warnings == ["the STAR file says 0.885 angstrom per pixel, the header 1: 0.885 is used"]
    assert pixel_size_warnings(1.0, None) == pixel_size_warnings(None, 1.0) == (None, [])
    assert pixel_size_warnings(1.06, 1.066)[1] == []
    good, odd = members(5, stated=0.885), members(1, size=10.6, stated=0.885, name="x2_{}")
    found = compare(good + odd, SECTION)
    assert found.fault is None
    assert found.warnings == {
        "x2_0": ["pixel size 10.6 angstrom in its header, where most headers say 1"]
    }
    text = "\n".join(found.lines)
    assert "5 micrographs: the STAR file says 0.885 angstrom per pixel, the header 1:" in text
    assert "1 micrograph: the STAR file says 0.885 angstrom per pixel, the header 10.6:" in text
    assert len(compare(odd, SECTION).lines) == 1  # a set of one


def test_no_list_grows_with_the_set():
    odd = [Member(f"x{i}", 100 + i, 100 + i, 1.0) for i in range(3000)]
    found = compare(members(3001) + odd, SECTION)
    assert len(str(found.fault)) < 2000
    assert len(found.lines) == 11
    assert found.lines[-1] == "and 2,990 more kinds of micrograph"
    assert len(in_words(odd)) < 500


def test_what_is_there_in_one_line():
    mixed = members(2, 512, 512, None) + members(1196, 7420, 7676, 0.66)
    assert in_words(mixed) == "7420 x 7676 px at 0.66 A (1,196), 512 x 512 px (2)"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ("*.mrc", '"*[0-9].mrc"'),
        ("a/**/s*.mrc.gz", '"a/**/s*[0-9].mrc.gz"'),
        (["a/*.mrc", "b/*.mrc"], '["a/*[0-9].mrc", "b/*[0-9].mrc"]'),
        ("m.star", None),
        (["a/*.mrc", "m.tsv"], None),
        (None, None),
    ],
)
def test_globs_are_narrowed_and_tables_are_not(files, expected):
    assert narrowed(files, ["s_0", "s_1"], ["s_0_PS"]) == expected


def test_names_that_no_end_tells_apart_are_not_narrowed():
    assert narrowed("*.mrc", ["a1", "b2"], ["c3"]) is None
    assert narrowed("*.mrc", ["a_[1]", "b_[1]"], ["c"]) == '"*_[[]1].mrc"'
