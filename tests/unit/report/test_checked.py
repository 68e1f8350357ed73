"""The checks of each micrograph on the page: the worst of each, the worst micrograph first."""

from clearice.report.checked import SHOWN, check_rows
from report_run import Run, text_of


def row(name, rejected=False, **numbers):
    return {"micrograph": name, "rejected": rejected, **numbers}


def test_the_worst_check_of_the_worst_micrograph_comes_first():
    rows = check_rows(
        [
            row("good", shared_noise=-0.01, inverted_contrast=0.8, foreign_half=0.02),
            row("noisy", shared_noise=-0.3, inverted_contrast=0.8, shared_stripes=0.06),
            row("unknown", shared_noise=None),
            row("inverted", True, shared_noise=0.001, inverted_contrast=-0.8, foreign_half=2.0),
        ]
    )
    found = [(r["micrograph"], r["name"], round(r["percent"]), r["also"]) for r in rows]
    assert found == [
        ("inverted", "inverted_contrast", 800, ["foreign_half"]),
        ("noisy", "shared_noise", 300, ["shared_stripes"]),
        ("good", "shared_noise", 10, []),
    ]


def test_the_page_shows_as_many_as_fit_and_the_table_all(tmp_path):
    run = Run(tmp_path)
    names = [f"m{i:02}" for i in range(30)]
    run.add_dataset(names, tested=["m02"], checks={"shared_noise": 0.125, "foreign_half": 0.5})
    page = text_of(run.write())
    assert f"The {SHOWN} worst of 30" in page
    assert page.count("correlation of the halves above half the Nyquist frequency") == SHOWN
    assert [r["shared_noise"] for r in run.table("micrographs.tsv")] == ["0.125"] * 30
    assert "125" in page


def test_a_run_without_measured_checks_has_no_table_of_them(tmp_path):
    page = Run(tmp_path).add_dataset(["a", "b"], tested=["a"]).write()
    assert "Checks, worst first" not in page


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
