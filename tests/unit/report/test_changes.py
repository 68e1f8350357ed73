"""What is new since the last report: its state, what is compared, and what becomes of damage."""

import json

import pytest

from clearice.report.changes import SHOWN, compare, in_words
from clearice.report.last_report import FILE, LastReport, keep, settings


def state(used=("a", "b"), rejected=(), waiting=(), **changes):
    """Return a state of a report, as state_of makes it."""
    gain = {"gain_over_linear_db": 4.81, "denoised": 13.0}
    return {
        "made": "Monday",
        "used": used if isinstance(used, dict) else {name: f"of {name}" for name in used},
        "rejected": list(rejected),
        "waiting": list(waiting),
        "settings": {"model.epochs": "6", "patches.size_px": "256"},
        "verdicts": {"numpy": "passed"},
        "null_tests": {"judged": 6, "failed": []},
        "gain": gain,
        "models": {"simple_cnn": "0123"},
        **changes,
    }


def said(before, now, reasons=None):
    """Return the lines of the page on a change, as text."""
    words = in_words(compare(before, now, reasons or {}))
    return [f"{line['label']}: {line['text']}" for line in words["lines"]]


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({}, {"used": ["a", "b", "c"]}, "1 micrograph added: c"),
        ({"waiting": ["c"]}, {"used": ["a", "b", "c"]}, "1 micrograph added: c"),
        ({"rejected": ["c"]}, {"used": ["a", "b", "c"]}, "1 micrograph no longer rejected: c"),
        ({"rejected": ["c"]}, {"used": ["a"]}, "2 micrographs removed: b; c"),
        ({}, {"rejected": ["c"]}, "1 micrograph newly rejected: c (truncated)"),
        ({}, {"waiting": ["c"]}, "1 micrograph waiting for the next run: c"),
        (
            {},
            {"used": {"a": "of a", "b": "other"}},
            "1 micrograph with other pixels than before: b",
        ),
        (
            {},
            {"settings": {"model.epochs": "9", "patches.size_px": "256"}},
            "setting model.epochs: 6 → 9",
        ),
        ({"verdicts": {}}, {}, "parity of numpy: none → passed"),
        ({}, {"verdicts": {"numpy": "failed"}}, "parity of numpy: passed → failed"),
        (
            {},
            {"null_tests": {"judged": 6, "failed": ["shift", "grid"]}},
            "null tests: 6 of 6 passed → 4 of 6 passed (failed: grid, shift)",
        ),
        (
            {},
            {"gain": {"gain_over_linear_db": -0.5, "denoised": 2.0}},
            "gain over the best linear filter: +4.8 dB → −0.5 dB",
        ),
        ({"gain": None}, {}, "gain over the best linear filter: none → +4.8 dB"),
        ({}, {"models": {"simple_cnn": "4567"}}, "trained again: simple_cnn"),
    ],
)
def test_each_change_is_one_line(before, now, expected):
    assert said(state(**before), state(**now), {"c": "truncated"}) == [expected]


def test_what_is_the_same_to_the_last_shown_digit_is_nothing_new():
    now = state(gain={"gain_over_linear_db": 4.83, "denoised": 13.02})
    words = in_words(compare(state(), now, {}))
    assert words["lines"] == []
    assert words["sentence"].startswith("Nothing is new since the report of Monday")


def test_other_settings_of_patches_explain_other_patches():
    now = state({"a": "x", "b": "y"}, settings={"model.epochs": "6", "patches.size_px": "64"})
    assert said(state(), now) == ["setting patches.size_px: 256 → 64"]


def test_ten_thousand_micrographs_make_a_short_comparison_and_a_file_of_a_megabyte(tmp_path):
    names = [f"FoilHole_{i:08d}_Data_{i:08d}_20261130_fractions" for i in range(10_000)]
    now = state({name: f"{i:08x}" for i, name in enumerate(names)})
    changes = compare(state(()), now, {})
    assert changes["added"]["count"] == 10_000
    assert len(json.dumps(changes)) < 2_000
    (line,) = in_words(changes)["lines"]
    assert line["text"].endswith(f" and {10_000 - SHOWN:,} more")
    last = LastReport(tmp_path)
    keep(tmp_path, last.text_for_next(now, last.changes(now, {})))
    assert (tmp_path / FILE).stat().st_size < 1_000_000
    assert LastReport(tmp_path).changes(now, {}) is None


def test_a_first_report_says_so_and_again_when_it_is_made_anew(tmp_path):
    for made in ("Monday", "Tuesday"):
        now, last = state(made=made), LastReport(tmp_path)
        changes = last.changes(now, {})
        assert in_words(changes)["sentence"] == "This is the first report of this folder."
        keep(tmp_path, last.text_for_next(now, changes))


def test_a_report_of_the_same_results_keeps_the_comparison_and_its_times(tmp_path):
    for made, used in (("Monday", "ab"), ("Tuesday", "abc"), ("Wednesday", "abc")):
        now, last = state(used, made=made), LastReport(tmp_path)
        changes = last.changes(now, {})
        keep(tmp_path, last.text_for_next(now, changes))
    assert in_words(changes)["sentence"] == "Since the report of Monday:"
    assert changes["added"] == {"count": 1, "names": ["c"]}
    now = state("abcd", made="Thursday")
    later = LastReport(tmp_path).changes(now, {})
    assert in_words(later)["sentence"] == "Since the report of Tuesday:"
    assert later["added"]["names"] == ["d"]


def test_a_report_that_was_interrupted_loses_nothing(tmp_path):
    """What it compared with is still there, because the state is written last and whole."""
    first, last = state("ab"), LastReport(tmp_path)
    keep(tmp_path, last.text_for_next(first, last.changes(first, {})))
    (tmp_path / f".{FILE}.part").write_text("{")  # a killed writer's
    for _ in range(2):  # the first of them ends before it keeps its state
        changes = LastReport(tmp_path).changes(state("abc"), {})
        assert changes["added"]["names"] == ["c"]


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format_version": 99}',
        '{"format_version": 1, "state": {}, "changes": null}',
        '{"format_version": 1, "state": 5, "changes": null}',
        "[" * 100_000,
        "\x00",
    ],
)
def test_a_damaged_state_costs_one_sentence(tmp_path, damage):
    (tmp_path / FILE).write_text(damage)
    for _ in range(2):  # and the report that is made anew says it again
        last = LastReport(tmp_path)
        changes = last.changes(state(), {})
        words = in_words(changes)
        assert words["sentence"].startswith(
            "The record of the last report cannot be read (state.js"
        )
        assert words["lines"] == []
        keep(tmp_path, last.text_for_next(state(), changes))
    assert LastReport(tmp_path).changes(state("abc"), {})["added"]["names"] == ["c"]


@pytest.mark.parametrize("key", sorted(compare(state(), state(), {})))
def test_damage_in_what_was_compared_is_noticed_too(tmp_path, key):
    changes = {**compare(state(), state("abc"), {}), key: 5}
    content = {"format_version": 1, "state": state("abc"), "changes": changes}
    (tmp_path / FILE).write_text(json.dumps(content))
    in_words(LastReport(tmp_path).changes(state("abc"), {}))


def test_a_folder_in_its_place_costs_no_more(tmp_path, capsys):
    (tmp_path / FILE).mkdir()
    last = LastReport(tmp_path)
    changes = last.changes(state(), {})
    assert "not a regular file" in in_words(changes)["sentence"]
    keep(tmp_path, last.text_for_next(state(), changes))
    assert "the next report has nothing to compare with" in capsys.readouterr().err


def test_settings_are_flat_and_long_ones_are_told_apart():
    found = settings({"a": {"b": 1, "c": {}}, "d": None, "e": "x" * 500, "f": [1, True]})
    assert {key: found[key] for key in ("a.b", "a.c", "d", "f")} == {
        "a.b": "1",
        "a.c": "{}",
        "d": "null",
        "f": "[1, true]",
    }
    assert "500 letters" in found["e"]
    assert len(found["e"]) < 200
    assert found["e"] != settings({"e": "x" * 499 + "y"})["e"]
