"""Curves of a training: what is drawn, what is named at the edge, and the numbers beside it."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from clearice.model.history import COLUMNS
from clearice.report.figures import svg_of
from clearice.report.learning import thinned
from clearice.report.training_figures import (
    LOSS_COLUMNS,
    SPEED_COLUMNS,
    loss_panel,
    loss_rows,
    speed_panels,
    speed_rows,
)
from clearice.tsv import table_text

SVG = "{http://www.w3.org/2000/svg}"
NOTHING = {"raw": None, "constant": None, "linear": None}
KNOWN = {"raw": 1.95, "constant": 1.02, "linear": 0.991}


def history(test=(1.1, 1.0, 0.99), **changes):
    rows = []
    for k, loss in enumerate(test):
        row = dict.fromkeys(COLUMNS) | {"epoch": k + 1, "stage": 1, "test_loss": loss}
        row |= {"train_loss": None if loss is None else loss - 0.01, "noise_floor_test": 0.98}
        row |= {"batches_per_s": 12.5, "device_wait_fraction": 0.25, "peak_host_mib": 300.0}
        rows.append(row | {"seconds": 10.0 * (k + 1)} | changes)
    return rows


def texts(panels):
    root = ElementTree.fromstring(svg_of(panels, "test"))
    return ["".join(element.itertext()).strip() for element in root.iter(f"{SVG}text")]


def test_the_losses_are_named_with_what_they_are_compared_with():
    found = texts([loss_panel("a $x_1$ net", history(), KNOWN)])
    for label in (
        *("test 0.99", "training 0.98", "noise floor 0.98", "best linear filter 0.991"),
        *("a constant 1.02", "the input itself 1.95 ↑", "a $x_1$ net"),
    ):
        assert label in found


def test_what_is_not_known_is_left_out():
    found = texts([loss_panel("a", history(noise_floor_test=None), NOTHING)])
    assert not any(word in text for text in found for word in ("floor", "constant", "linear"))
    found = texts([loss_panel("a", history([None]), NOTHING)])
    assert not any(text.startswith(("test", "training")) for text in found)


def heights(panel):
    """Return where the labels at the right stand, from the top down, in points."""
    svg = svg_of([panel], "test")
    return sorted(float(y) for y in re.findall(r'x="[\d.]+" y="([\d.]+)"[^>]*>[^<]* [\d.]+', svg))


@pytest.mark.parametrize("test", [(1.1, 1.0, 0.99), (0.99,), (0.981, 0.981), (50.0, 1.0, 0.99)])
def test_labels_never_lie_on_one_another(test):
    close = {"raw": 1.0, "constant": 0.9905, "linear": 0.9901}
    places = heights(loss_panel("a", history(test), close))
    assert len(places) >= 6
    assert min(b - a for a, b in pairwise(places)) > 8


def test_a_curve_of_two_orders_gets_a_logarithmic_axis():
    assert "test 0.5" in texts([loss_panel("a", history([50.0, 1.0, 0.5]), NOTHING)])
    svg = svg_of([loss_panel("a", history([50.0, 1.0, 0.5]), NOTHING)], "test")
    assert "10^" in svg or "10</" in svg or "<tspan" in svg


def test_stages_are_marked_where_they_begin():
    rows = history([1.1, 1.0, 1.05, 1.0])
    for row in rows[2:]:
        row["stage"] = 2
    assert texts([loss_panel("a", rows, NOTHING)]).count("stage 2") == 1
    assert "stage 1" not in texts([loss_panel("a", rows, NOTHING)])


def test_speed_waiting_and_memory_have_a_panel_each():
    found = texts(speed_panels("net", history()))
    assert {
        "net: batches per second",
        "net: time waiting for data (%)",
        "net: peak memory (MiB)",
    } <= set(found)
    assert "of the GPU" not in found
    assert "of the GPU" in texts(speed_panels("net", history(peak_device_mib=900.0)))


def test_one_epoch_and_unknown_speed_still_draw():
    assert texts(speed_panels("net", history([0.99])))
    unknown = history([0.99], batches_per_s=None, device_wait_fraction=None)
    assert texts(speed_panels("net", unknown))


def test_the_tables_hold_the_numbers_that_are_drawn():
    rows = thinned(history([2 - k / 1000 for k in range(1000)]))
    lines = table_text(LOSS_COLUMNS, loss_rows("net", rows, KNOWN)).splitlines()
    assert lines[0].split("\t") == list(LOSS_COLUMNS)
    assert len(lines) == len(rows) + 1 < 420
    last = dict(zip(LOSS_COLUMNS, lines[-1].split("\t"), strict=True))
    assert last["epoch"] == "1000"
    assert float(last["test_loss"]) == rows[-1]["test_loss"]
    assert (last["raw_input"], last["best_linear_filter"]) == ("1.95", "0.991")
    speeds = table_text(SPEED_COLUMNS, speed_rows("net", rows)).splitlines()
    first = dict(zip(SPEED_COLUMNS, speeds[1].split("\t"), strict=True))
    assert (first["architecture"], first["batches_per_s"]) == ("net", "12.5")
