"""Micrographs that wait for the next run: on the page, in its tables and in its figures."""

from clearice.files import read_json
from clearice.micrographs.waiting import STILL_WRITTEN
from clearice.report.facts import read_micrographs
from clearice.report.headlines import summary_text
from report_run import Run, text_of


def test_what_waits_is_listed_apart_and_counts_as_neither_used_nor_rejected(tmp_path):
    run = Run(tmp_path).add_dataset(["a", "b"], ["b"], rejected=["bad"], waiting=["late"])
    rows = read_micrographs(run.arguments["micrographs"])
    assert [row["micrograph"] for row in rows] == ["bad", "late", "a", "b"]
    assert [row["status"] for row in rows] == ["rejected", "waiting", "ok", "ok"]
    page = run.add_model().write()
    words = text_of(page)
    assert "2 used; 1 rejected, 1 waiting" in words
    table = page[page.index('aria-label="Table of micrographs"') : page.index("</table>")]
    places = [table.index(text) for text in ("bad", "late", STILL_WRITTEN, '"text">a<')]
    assert places == sorted(places)
    assert "the next run takes them if they are" in words
    summary = read_json(run.outputs()["summary"])
    assert summary["micrographs"] == {"used": 2, "rejected": 1, "waiting": 1}
    assert "2 used, 1 rejected, 1 waiting" in summary_text(summary, "index.html")


def test_where_nothing_waits_nothing_is_said_of_it(tmp_path):
    run = Run(tmp_path).add_dataset(["a", "b"], ["b"])
    page = run.add_model().write()
    # A training has time spent waiting, too.
    of_micrographs = page[: page.index('<section id="denoised"')]
    assert "waiting" not in text_of(of_micrographs).lower()
