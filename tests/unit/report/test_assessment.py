"""The sentence on top of the page: its most costly problem first; and the five figures."""

import dataclasses

import pytest

from clearice.config import complete_config
from clearice.report.assessment import assess, sentence
from clearice.report.headlines import verdict_line
from clearice.report.sections.head import five_figures

GAIN = {"against": "truth", "measure": "snr_db", "raw": 1.0, "linear": 8.2, "denoised": 13.0}


@dataclasses.dataclass
class Run:
    """What the assessment looks at."""

    headlines: dict
    micrographs: list
    histories: dict
    trainings: dict


def verdict(name, state):
    """Return an entry of the headlines' parity."""
    passed = state == "passed"
    return {
        "implementation": name,
        "precision": "float32",
        "verdict": state,
        "worst_percent": 3.0 if passed else None,
        "lowest_failing_rung": "loss" if state == "failed" else None,
    }


def history(losses, stage=1):
    """Return the rows of a stage, as far as the assessment looks at them."""
    return [{"stage": stage, "test_loss": loss, "noise_floor_test": None} for loss in losses]


def run(losses=(1.3, 1.1, 1.0), warnings="", kept=False, trained=True, **changes):
    """Return a run of which all is well but the changes."""
    headlines = {
        "micrographs": {"used": 8, "rejected": 0, "waiting": 0},
        "patches": {"train": 343, "test": 49},
        "patch_size_px": 256,
        "loss": {},
        "gain": {**GAIN, "gain_over_linear_db": 4.8, "micrographs": 1},
        "null_tests": {"judged": 6, "failed": []},
        "parity": [verdict("numpy", "passed"), verdict("torch", "passed")],
        "busy_s": 85.0,
        "peak_rss_mib": 634.0,
        **changes,
    }
    rows = losses if losses and isinstance(losses[0], dict) else history(losses)
    trainings = {"s2d_unet": {"kept_pretrained": kept}} if trained else {}
    micrographs = [{"used": True, "warnings": warnings}]
    return Run(headlines, micrographs, {"s2d_unet": rows}, trainings)


def said(config=None, **changes):
    """Return the sentence on a run."""
    return sentence(assess(run(**changes), complete_config(config or {})))


WORSE = {**GAIN, "gain_over_linear_db": -0.8, "micrographs": 1}
LESS = {**WORSE, "measure": "correlation", "gain_over_linear_db": None}


def test_all_is_well():
    assert said() == (
        "All is well: 8 micrographs, denoised 4.8 dB better than the best linear filter, "
        "null tests passed, parity passed."
    )


def test_what_could_not_run_here_is_named_but_no_problem():
    parity = [verdict("numpy", "passed"), verdict("cudnn", "not run")]
    assert said(parity=parity).endswith("parity passed (1 implementation not run here).")


def test_a_run_that_was_asked_for_less_is_well_too():
    text = said({"denoised": {"enabled": False}}, gain=None, null_tests=None, parity=[])
    assert text == "All is well: 8 micrographs, none denoised, as configured."


PROBLEMS = [  # in the order of what they cost
    ({"null_tests": {"judged": 6, "failed": ["grid"]}}, "1 of 6 null tests failed (grid)"),
    ({"parity": [verdict("fortran", "failed")]}, "parity failed (fortran, lowest rung loss)"),
    ({"gain": WORSE}, "the denoised micrographs are 0.8 dB worse than the best linear filter"),
    (
        {"micrographs": {"used": 6, "rejected": 2, "waiting": 0}},
        "2 of 8 micrographs were rejected",
    ),
    ({"losses": (1.3, None)}, "the loss of s2d_unet is not a number"),
    ({"losses": (1.3, 1.0, 1.1, 1.2)}, "the test loss of s2d_unet rose again, to 1.2"),
    ({"warnings": "stripes"}, "1 micrograph has warnings"),
    ({"trained": False}, "nothing was trained"),
]


@pytest.mark.parametrize(("changes", "words"), PROBLEMS)
def test_each_problem_is_said(changes, words):
    opening = "Well, but" if changes.keys() & {"warnings", "trained"} else "Look at this first:"
    opening = "Well, but" if "rose" in words else opening
    assert said(**changes) == f"{opening} {words}."


def test_the_most_costly_problem_comes_first_and_the_rest_is_counted():
    changes, words = {}, [words for _, words in PROBLEMS if "rose" not in words]
    for change, text in PROBLEMS:
        changes |= change if "rose" not in text else {}
    expected = "; ".join(words[:3])
    assert said(**changes) == f"Look at this first: {expected}; and {len(words) - 3} more below."


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"micrographs": {"used": 99, "rejected": 1, "waiting": 0}},
            "1 of 100 micrographs was rejected",
        ),
        ({"gain": None, "null_tests": None}, "no gain was measured: no micrograph was validated"),
        ({"gain": None}, "no held-out micrograph has a sound other half or a truth"),
        ({"kept": True}, "s2d_unet kept its pretrained weights"),
        ({"parity": [verdict("cudnn", "not run")]}, "no implementation could be compared here"),
        ({"config": {"validation": {"enabled": False}}, "gain": None}, "validation is off"),
    ],
)
def test_what_is_doubtful_is_said_more_softly(changes, words):
    assert said(**changes).startswith("Well, but")
    assert words in said(**changes)


def test_a_correlation_below_that_of_the_filter_is_no_success():
    assert "agree less with the other half (correlation 13.000)" in said(
        gain={**LESS, "linear": 14}
    )
    assert said(gain=LESS).startswith("All is well")


def test_a_later_stage_that_begins_above_the_end_of_the_one_before_has_not_risen():
    """Its test micrographs are others."""
    earlier = history((1.3, 1.1, 1.0))
    assert said(losses=earlier + history((1.5, 1.4, 1.3), 2)).startswith("All is well")
    rising = history((1.3, 1.0, 1.1, 1.2), 2)
    assert "rose again, to 1.2" in said(losses=earlier + rising)


@pytest.mark.parametrize("epochs", [0, 1])
def test_one_epoch_or_none_says_nothing_about_the_loss(epochs):
    assert said(losses=(1.3,) * epochs).startswith("All is well")


def test_each_part_of_the_sentence_and_each_figure_leads_to_its_evidence():
    parts = assess(run(), complete_config({}))["parts"]
    links = [part["link"] for part in parts]
    assert links == ["#micrographs", "#validation", "#validation", "#parity"]
    figures = five_figures(run().headlines, complete_config({}))
    assert [figure["link"] for figure in figures] == [
        *("#micrographs", "#patches", "#validation", "#parity", "#costs")
    ]
    assert [figure["state"] for figure in figures] == [None, None, "good", "good", None]
    rejected = run(micrographs={"used": 6, "rejected": 2, "waiting": 1}).headlines
    first = five_figures(rejected, complete_config({}))[0]
    assert (first["state"], first["link"]) == ("warn", "#micrographs?status=rejected")
    assert first["detail"] == "used; 2 rejected, 1 waiting"


@pytest.mark.parametrize(
    ("changes", "state", "value"),
    [
        ({"gain": WORSE}, "bad", "−0.8 dB"),
        ({"gain": None}, "warn", "not measured"),
        ({"null_tests": {"judged": 6, "failed": ["grid"]}}, "bad", "+4.8 dB"),
        ({"gain": LESS}, "good", "13.000"),
        ({"gain": {**LESS, "linear": 14.0}}, "bad", "13.000"),
    ],
)
def test_no_gain_is_green_with_a_failed_null_test(changes, state, value):
    figure = five_figures(run(**changes).headlines, complete_config({}))[2]
    assert (figure["state"], figure["value"]) == (state, value)


@pytest.mark.parametrize(
    ("busy_s", "peak", "value", "detail"),
    [
        (85.0, 634.0, "1 min 25 s", "peak memory 634 MiB, largest job"),
        (0.2, None, "0.2 s", "no job was long enough to be sampled for memory"),
        (None, 634.0, "unknown", "peak memory 634 MiB, largest job; the times are those of a copy"),
        (None, None, "unknown", "there are no benchmark files"),
    ],
)
def test_time_and_memory_are_told_as_far_as_they_are_known(busy_s, peak, value, detail):
    headlines = run(busy_s=busy_s, peak_rss_mib=peak).headlines
    figure = five_figures(headlines, complete_config({}))[4]
    assert (figure["value"], figure["detail"]) == (value, detail)


@pytest.mark.parametrize(
    ("states", "state", "value"),
    [
        ([], None, "none"),
        (["passed", "passed"], "good", "passed"),
        (["passed", "not run"], "warn", "1 of 2 passed"),
        (["not run"], "warn", "not run"),
        (["failed", "not run", "passed"], "bad", "failed"),
    ],
)
def test_one_failure_outweighs_every_success(states, state, value):
    parity = [verdict(str(i), state) for i, state in enumerate(states)]
    figure = five_figures(run(parity=parity).headlines, complete_config({}))[3]
    assert (figure["state"], figure["value"]) == (state, value)
    assert verdict_line(parity)[0] == next(
        (state for state in ("failed", "not run", "passed") if state in states), "none"
    )
