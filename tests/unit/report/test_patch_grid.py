"""The grid that is drawn is that of the patches, and what lies in none is hatched and counted."""

from xml.etree import ElementTree

import numpy as np
import pytest

from clearice.micrographs.mrc_writer import write_micrograph
from clearice.report.patch_grid import coverage, grid_rows, grid_svg, grid_words, highlighted
from clearice.report.pictures import View
from clearice.shards.patches import patch_origins
from report_run import Run, text_of

SVG = "{http://www.w3.org/2000/svg}"


def record(shape, size, stride, *, cover=False, kind="halves", without=()):
    origins = [o for o in patch_origins(*shape, size, stride, cover).tolist() if o not in without]
    y, x = zip(*origins, strict=True)
    return {
        "micrograph": "<m>",
        "height_px": shape[0],
        "width_px": shape[1],
        "patch_size_px": size,
        "stride_px": stride,
        "cover_border": cover,
        "target_kind": kind,
        "y": list(y),
        "x": list(x),
    }


GRIDS = [
    record((100, 130), 32, 16),
    record((100, 130), 32, 16, cover=True),
    record((100, 130), 16, 24),
    record((96, 128), 32, 32),
    record((96, 128), 32, 16, without=([0, 0], [32, 48], [32, 64], [48, 48])),
    record((40, 40), 32, 32),
]


@pytest.mark.parametrize("facts", GRIDS)
def test_coverage_is_that_of_the_pixels(facts):
    size, shape = facts["patch_size_px"], (facts["height_px"], facts["width_px"])
    mask = np.zeros(shape, bool)
    origins = list(zip(facts["y"], facts["x"], strict=True))
    for y, x in origins:
        mask[y : y + size, x : x + size] = True
    share, outside = coverage(origins, size, shape)
    assert share == pytest.approx(mask.mean())
    for y, x, height, width in outside:
        assert not mask[y : y + height, x : x + width].any()
        mask[y : y + height, x : x + width] = True  # and each pixel once
    assert mask.all()


@pytest.mark.parametrize("facts", GRIDS)
def test_the_drawing_and_the_table_hold_the_patches(facts):
    view = View(np.random.default_rng(0).normal(size=(10, 13)).astype(np.float32), 10, None)
    text = grid_svg(view, facts, 'a "label" & <more>')
    root = ElementTree.fromstring(text)
    assert root.get("viewBox") == f"0 0 {facts['width_px']} {facts['height_px']}"
    assert root.get("aria-label") == 'a "label" & <more>'
    origins = list(zip(facts["y"], facts["x"], strict=True))
    shape = facts["height_px"], facts["width_px"]
    _, outside = coverage(origins, facts["patch_size_px"], shape)
    drawn = [e for e in root.iter(f"{SVG}rect") if e.get("class") == "outside"]
    keys = ("y", "x", "height", "width")
    assert [tuple(int(e.get(key)) for key in keys) for e in drawn] == outside
    rows = grid_rows(facts)
    assert [(row["y"], row["x"]) for row in rows] == origins
    y, x = highlighted(origins, facts["patch_size_px"], shape)
    places = {(e.get("y"), e.get("x")) for e in root.iter(f"{SVG}rect")}
    assert (str(y), str(x)) in places


def test_the_border_that_is_left_over_is_said_with_what_to_change():
    words = " ".join(grid_words(record((100, 130), 32, 16)))
    assert "30 patches" not in words
    assert "35 patches of 32 x 32 px lie on 100 x 130 px, one every 16 px" in words
    assert "overlap by 16 px: away from the border a pixel is in 4 patches" in words
    assert "5.5 % of the micrograph (hatched) are in no patch: 4 rows at the bottom" in words
    assert "and 2 columns at the right are left over" in words
    assert "patches.cover_border: true" in words


def test_gaps_and_blank_areas_are_told_from_the_border():
    whole = " ".join(grid_words(record((96, 128), 32, 32)))
    assert "Every pixel is in at least one patch" in whole
    assert "overlap" not in whole
    gaps = " ".join(grid_words(record((96, 112), 16, 24, cover=True)))
    assert "Between neighbours 8 px are in no patch" in gaps
    assert "leaves no gaps" in gaps
    blank = " ".join(grid_words(record((96, 128), 32, 32, without=([0, 0],))))
    assert "mostly blank are not cut" in blank


def test_patches_of_pixel_halves_lie_on_half_the_resolution():
    facts = record((100, 130), 32, 32, kind="pixel_halves")
    assert "images of half the resolution" in " ".join(grid_words(facts))
    view = View(np.zeros((20, 26), np.float32), 10, None)  # of 200 x 260 px
    image = next(ElementTree.fromstring(grid_svg(view, facts, "label")).iter(f"{SVG}image"))
    assert (image.get("height"), image.get("width")) == ("100", "130")


def test_thousands_of_patches_stay_a_small_figure():
    facts = record((4096, 4096), 64, 32)
    view = View(np.zeros((64, 64), np.float32), 64, None)
    assert len(grid_svg(view, facts, "label")) < 20_000


def test_the_page_shows_the_grid_on_the_first_held_out_micrograph(tmp_path):
    path = tmp_path / "m2_EVN.mrc"
    noise = np.random.default_rng(0).normal(size=(48, 150)).astype("f4")
    write_micrograph(path, [noise], *noise.shape, pixel_size_angstrom=1.5, label="test")
    source = {"path": str(path), "bytes": 1024, "mtime_ns": 1}
    run = Run(tmp_path).add_dataset(["m1", "m2"], tested=["m2"], input=source, width_px=150)
    words = text_of(run.write())
    assert "m2 (held out)" in words
    assert "hatched: in no patch" in words
    assert "0 rows at the bottom and 6 columns at the right are left over" in words
    assert [int(row["x"]) for row in run.table("grid.tsv")] == [0, 48, 96]
    path.unlink()
    assert "No grid is drawn" in text_of(run.write())
