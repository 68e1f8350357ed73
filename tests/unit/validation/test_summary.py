"""What the summary says of many records, in numbers and in words."""

import copy

from clearice.validation.summary import summarise

NAMES = ("raw", "gaussian", "wiener", "denoised")


def record(name, snr=(0.3, 6.0, 6.5, 8.5), passed=True, number=0.2):
    """Return a record as validate_micrograph writes it, in part."""
    return {
        "micrograph": name,
        "truth": {
            "snr_db": dict(zip(NAMES, snr, strict=True)),
            "gain_over_linear_db": snr[3] - max(snr[1:3]),
        },
        "target": None,
        "picking": None,
        "null_tests": [
            {
                "name": "flatness",
                "number": number,
                "threshold": 0.5,
                "passed": passed,
                "verdict": "it is flat" if passed else "it draws",
            },
            {
                "name": "grid",
                "number": None,
                "threshold": None,
                "passed": None,
                "verdict": "not measured: why",
            },
        ],
        "not_measured": ["picking: no centres"],
        "doubts": [],
    }


def test_medians_and_ranges_over_the_micrographs():
    snr = [(0.1, 5.0, 6.0, 7.0), (0.2, 5.0, 6.0, 9.0), (0.3, 5.0, 6.0, 8.0)]
    records = [record(str(i), values) for i, values in enumerate(snr)]
    summary = summarise(records)
    assert summary["micrographs"] == 3
    expected = {"median": 8.0, "least": 7.0, "greatest": 9.0, "count": 3}
    assert summary["values"]["snr_db_denoised"] == expected
    assert summary["values"]["ssim_raw"] is None
    words = " ".join(summary["words"])
    assert "8.0 dB, 2.0 dB better than the best linear filter (6.0 dB); raw 0.2 dB" in words
    assert "All null tests that could be made passed (1)." in words
    assert words.count("Not measured: picking: no centres.") == 1


def test_the_worst_of_a_failed_test_is_shown_and_where_it_failed():
    records = [record("a"), record("b", passed=False, number=0.7), record("c", number=0.45)]
    summary = summarise(copy.deepcopy(records))
    flatness, grid = summary["null_tests"]
    assert (flatness["passed"], flatness["judged"], flatness["number"]) == (2, 3, 0.7)
    assert flatness["failed_on"] == ["b"]
    assert (grid["judged"], grid["verdict"]) == (0, "not measured: why")
    assert summary["failed"] == ["flatness"]
    assert "1 of 1 null tests failed: flatness: it draws." in summary["words"]


def test_a_network_worse_than_a_filter_is_said_to_be():
    summary = summarise([record("a", (0.3, 6.0, 6.5, 4.2))])
    assert "2.3 dB worse than the best linear filter" in summary["words"][0]


def test_a_failure_without_a_number_counts():
    broken = record("a", passed=False, number=None)
    assert summarise([record("b"), broken])["failed"] == ["flatness"]
