"""The checks of each micrograph on the page: the worst of each."""

from clearice.report.checked import worst_check
from report_run import Run, text_of


def test_the_worst_check_went_furthest_and_others_that_were_reached_are_named():
    found = [
        worst_check(numbers)
        for numbers in (
            {"shared_noise": -0.01, "inverted_contrast": 0.8, "foreign_half": 0.02},
            {"shared_noise": -0.3, "inverted_contrast": 0.8, "shared_stripes": 0.06},
            {"shared_noise": 0.001, "inverted_contrast": -0.8, "foreign_half": 2.0},
        )
    ]
    assert [(w["check"].name, round(w["percent"]), w["also"]) for w in found] == [
        ("shared_noise", 10, []),
        ("shared_noise", 300, ["shared_stripes"]),
        ("inverted_contrast", 800, ["foreign_half"]),
    ]
    assert worst_check({"shared_noise": None}) is None


def test_the_page_shows_the_worst_check_of_each_micrograph(tmp_path):
    run = Run(tmp_path)
    names = [f"m{i:02}" for i in range(30)]
    run.add_dataset(names, tested=["m02"], checks={"shared_noise": 0.125, "foreign_half": 0.5})
    page = text_of(run.write())
    assert page.count("125 % shared_noise 0.125 of 0.1") == 30
    assert page.count("correlation of the halves above half the Nyquist frequency") == 1
    row = run.table("micrographs.tsv")[0]
    assert [row[k] for k in ("shared_noise", "worst_check", "worst_check_percent")] == [
        "0.125",
        "shared_noise",
        "125",
    ]


def test_a_run_without_measured_checks_has_no_column_of_them(tmp_path):
    page = Run(tmp_path).add_dataset(["a", "b"], tested=["a"]).write()
    assert "Worst check" not in page


def test_a_doubted_pair_is_not_praised(tmp_path):
    judged = {}
    for doubts in ((), ("the halves share noise",)):
        run = Run(tmp_path / str(len(doubts))).add_dataset(["a", "b"], tested=["a"])
        run.add_denoised(["a", "b"], judges=("target",), tested=["a"], doubts=doubts)
        judged[bool(doubts)] = text_of(run.write()), run.table("micrographs.tsv")[0]
    page, table = judged[False]
    assert "Correlation with the raw other half" in page
    assert table["correlation_denoised"]
    page, table = judged[True]
    assert "Correlation with the raw other half" not in page
    assert "Not counted, against the other half of 1 of 1 micrographs: a (the halves share" in page
    assert (table["gain_over_linear_db"], table["correlation_denoised"]) == ("", "")
