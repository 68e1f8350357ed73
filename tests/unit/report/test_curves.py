"""Curves as plain SVG: every point is where its number says, and axes are marked."""

import math
from xml.etree import ElementTree

import pytest

from clearice.report.drawing.curves import Axis, Line, line_chart, spanned

SVG = "{http://www.w3.org/2000/svg}"
X, Y = Axis("x", 0, 10), Axis("y", 0, 1)


def drawn(lines, x=X, y=Y, values=range(11), **more):
    """Return the root of a chart."""
    return ElementTree.fromstring(line_chart(list(values), lines, x, y, "a chart", **more))


def points(element):
    """Return the points of a polyline."""
    return [tuple(map(float, pair.split(","))) for pair in element.get("points").split()]


def curves_of(root, kind):
    """Return the polylines of a class, without the sample of the legend."""
    return [points(e) for e in root.iter(f"{SVG}polyline") if e.get("class") == kind][:-1]


def test_points_lie_where_their_numbers_say():
    root = drawn([Line("up", "up", [k / 10 for k in range(11)])])
    ((first, *_, last),) = curves_of(root, "up")
    (corner, *_, top), (lowest, *_, highest) = zip(*[first, last], strict=True), (first[1], last[1])
    assert top > corner
    assert lowest > highest  # y grows downwards
    middle = curves_of(root, "up")[0][5]
    assert middle == pytest.approx(((first[0] + last[0]) / 2, (first[1] + last[1]) / 2), abs=0.1)


def test_gaps_split_a_line_and_values_off_the_axis_stay_on_its_edge():
    values = [0.1, None, 0.2, 0.3, math.nan, 5.0, 5.0, 0.4, 0.5, 0.6, -3.0]
    parts = curves_of(drawn([Line("l", "l", values)]), "l")
    assert [len(part) for part in parts] == [1, 2, 6]
    heights = [y for part in parts for _, y in part]
    full = drawn([Line("l", "l", [0.0, 1.0] + [0.5] * 9)])
    bottom, top = (y for _, y in curves_of(full, "l")[0][:2])
    assert min(heights) == top
    assert max(heights) == bottom


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (Axis("", 0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Axis("", 0, 0.1667), [0, 0.05, 0.1, 0.15]),
        (Axis("", -0.1, 1.02), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Axis("", 0.5, 70, is_log=True), [1, 10]),
        (Axis("", 2, 30, is_log=True), [2, 5, 10, 20]),
        (Axis("", 1e-7, 1e9, is_log=True), [10.0**k for k in (-7, -5, -3, -1, 1, 3, 5, 7, 9)]),
    ],
)
def test_ticks_are_round_and_few(axis, expected):
    assert axis.ticks() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("greatest", [1e-9, 0.03, 1, 7, 12345, 1e12])
def test_every_axis_has_ticks_inside_it(greatest):
    ticks = Axis("", 0, greatest).ticks()
    assert 2 < len(ticks) < 10
    assert all(0 <= tick <= greatest * (1 + 1e-9) for tick in ticks)


def test_a_logarithmic_axis_is_logarithmic():
    axis = Axis("", 1, 1000, is_log=True)
    assert [axis.share(v) for v in (1, 10, 1000)] == pytest.approx([0, 1 / 3, 1])
    assert axis.share(0) is axis.share(-1) is axis.share(None) is None


def test_the_span_of_lines_holds_all_their_numbers():
    least, greatest = spanned([Line("", "", [1, None]), Line("", "", [5, math.inf])])
    assert least < 1 < 5 < greatest < 6
    assert spanned([Line("", "", [None, math.nan])]) is None
    assert spanned([Line("", "", [0.0, -1.0])], is_log=True) is None
    least, greatest = spanned([Line("", "", [3.0])])
    assert least < 3 < greatest


def test_a_chart_is_named_and_its_words_are_escaped():
    root = drawn([Line("<raw> & co", "raw", [0.5] * 11, "2 3")], marks=[(0.143, "0.143")])
    assert (root.get("role"), root.get("aria-label")) == ("img", "a chart")
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert {"x", "y", "<raw> & co", "0.143", "0.2", "10"} <= set(words)
    assert {e.get("stroke-dasharray") for e in root.iter(f"{SVG}polyline")} == {"2 3"}
