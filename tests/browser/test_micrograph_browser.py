"""The table of micrographs: sorted, filtered and searched, by mouse, by keyboard, by address."""

import json
import re

import pytest

from chromium import PHONE, printed, too_wide
from report_run import Run

HOSTILE = """<b>&"'.mrc"""
NAMES = ["m2", "m10", "m1", HOSTILE, *(f"n{i:03}" for i in range(400))]
STRIPES = "the halves share stripes & <more>"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of many micrographs: m1 held out, two rejected, one waiting, one with a warning."""
    run = Run(tmp_path_factory.mktemp("run"))
    run.add_dataset(NAMES, tested=["m1", "n007"], rejected=["bad", "odd"], waiting=["late"])
    table = run.arguments["micrographs"]
    lines = table.read_text().splitlines()
    columns = lines[0].split("\t")
    for i, line in enumerate(lines):
        cells = line.split("\t")
        if cells[0] == "m10":
            cells[columns.index("warnings")] = STRIPES
        if cells[0] in ("m1", "m2", "m10", "n003"):
            value = {"m1": "0.05", "m2": "-0.2", "m10": "0.011", "n003": "0"}[cells[0]]
            cells[columns.index("shared_noise")] = value
        lines[i] = "\t".join(cells)
    table.write_text("\n".join(lines) + "\n")
    run.add_drawn(["m1", "m2", "m10", HOSTILE, "n000"])
    run.write()
    return run


@pytest.fixture
def index(run):
    """The page of the run."""
    return run.outputs()["page"]


def names(page):
    """Return the names in the table from top to bottom."""
    return page.locator("#micrographs tbody th .text").all_text_contents()


def head(page, title):
    """Return the button that sorts by a column."""
    return page.locator("#micrographs thead").get_by_role("button", name=title, exact=True)


def found(page):
    """Return what is said of the number of matches."""
    return page.locator("#micrographs [role=status]").text_content()


def test_rejected_ones_come_first_with_their_reasons(chromium, index):
    page = chromium.open(index)
    assert names(page)[:5] == ["bad", "odd", "late", "m10", HOSTILE]
    assert names(page)[5:8] == ["m1", "m2", "n000"]
    first = page.locator("#micrographs tbody tr").first.text_content()
    assert "truncated & <odd>" in first
    assert found(page) == "407 micrographs"
    assert page.locator("#micrographs [aria-sort=ascending]").text_content() == "Status"
    assert page.locator("#micrographs tbody tr").count() == 50


def test_the_rows_of_the_script_are_those_of_the_page(chromium, index):
    """Text, links and pictures of the first rows, with and without the script that makes them."""
    kept = (
        "rows => rows.map(row => [row.className, ...[...row.cells].map("
        "cell => [cell.className, cell.textContent.trim().replace(/\\s+/g, ' '),"
        " cell.dataset.title, cell.querySelector('a')?.getAttribute('href'),"
        " cell.querySelector('img')?.src, cell.querySelector('img')?.alt])])"
    )
    rows = "#micrographs tbody tr"
    plain = chromium.open(index, javascript=False)
    assert plain.locator(rows).count() == 50
    scripted = chromium.open(index)
    head(scripted, "Micrograph").click()
    scripted.get_by_role("button", name="Show all again").click()
    assert scripted.eval_on_selector_all(rows, kept) == plain.evaluate(
        f"({kept})([...document.querySelectorAll('{rows}')])"
    )


def test_numbers_are_sorted_as_numbers_and_missing_ones_stay_last(chromium, index):
    page = chromium.open(index)
    head(page, "Worst check").click()
    assert page.locator("#micrographs [aria-sort]").get_attribute("aria-sort") == "ascending"
    assert names(page)[:5] == ["n003", "m10", "m1", "m2", HOSTILE]
    head(page, "Worst check").click()
    assert page.locator("#micrographs [aria-sort]").get_attribute("aria-sort") == "descending"
    assert names(page)[:4] == ["m2", "m1", "m10", "n003"]
    assert "200 %" in page.locator("#micrographs tbody tr").first.text_content()
    head(page, "Micrograph").click()
    assert [name for name in names(page) if name.startswith("m")] == ["m1", "m2", "m10"]
    head(page, "Mean").click()
    head(page, "Mean").click()
    assert names(page)[:5] == ["n000", HOSTILE, "m10", "m2", "m1"]


def test_filters_and_search_narrow_the_table(chromium, index):
    page = chromium.open(index)
    page.get_by_role("radio", name="rejected 2").check()
    assert names(page) == ["bad", "odd"]
    assert found(page) == "2 of 407 micrographs match"
    page.get_by_role("radio", name="with warnings 1").check()
    assert names(page) == ["m10"]
    page.get_by_role("button", name="Show all again").click()
    page.get_by_role("radio", name="test (held out) 2").check()
    assert names(page) == ["m1", "n007"]
    page.get_by_role("button", name="Show all again").click()
    search = page.get_by_role("searchbox")
    search.press_sequentially("STRIPES share")
    assert names(page) == ["m10"]
    search.fill("truncated")
    assert names(page) == ["bad", "odd"]
    search.fill("nowhere")
    assert names(page) == []
    assert "No micrograph matches" in page.locator("#micrographs tbody").text_content()
    assert page.get_by_role("button", name="Show all again").is_visible()


def test_pages_of_rows_and_all_of_them(chromium, index):
    page = chromium.open(index)
    rows = page.locator("#micrographs tbody tr")
    page.get_by_role("button", name="Next rows").click()
    assert page.locator(".browser .range").text_content() == "51 to 100 of 407"
    assert names(page)[0] == "n043"
    page.get_by_label("Rows on a page").select_option("200")
    assert rows.count() == 200
    page.get_by_label("Rows on a page").select_option("all")
    assert rows.count() == 407
    last = page.get_by_role("button", name="Next rows")
    assert last.get_attribute("aria-disabled") == "true"
    last.click(force=True)  # Playwright waits for one that is not disabled
    assert rows.count() == 407


def test_the_address_keeps_what_is_shown(chromium, index):
    page = chromium.open(index, "micrographs?status=used&sort=-check&split=test")
    assert names(page) == ["m1", "n007"]
    page.get_by_role("searchbox").fill("m & 1%#?")
    page.wait_for_url(re.compile("search="))
    page.reload()
    assert page.get_by_role("searchbox").input_value() == "m & 1%#?"
    assert page.locator("#micrographs [aria-sort=descending]").text_content() == "Worst check"
    assert found(page) == "0 of 407 micrographs match"
    page.evaluate("location.hash = '#micrographs?status=rejected'")
    page.wait_for_function("document.querySelectorAll('#micrographs tbody tr').length === 2")
    assert page.evaluate("document.querySelector('#micrographs').getBoundingClientRect().top") < 100


def test_an_address_without_a_query_shows_all(chromium, index):
    page = chromium.open(index, "micrographs?status=rejected")
    assert found(page) == "2 of 407 micrographs match"
    page.evaluate("location.hash = '#micrographs'")
    page.wait_for_function("document.querySelectorAll('#micrographs tbody tr').length === 50")
    assert found(page) == "407 micrographs"


def test_what_was_typed_before_a_link_was_followed_does_not_change_its_address(chromium, index):
    page = chromium.open(index)
    page.clock.install()
    page.get_by_role("searchbox").fill("n00")
    page.evaluate("location.hash = '#validation'")
    page.clock.run_for(1000)
    assert page.evaluate("location.hash") == "#validation"


def test_an_address_that_means_nothing_here_shows_all(chromium, index):
    page = chromium.open(index, "micrographs?status=<b>&sort=constructor&page=-3&rows=9&x=%E0%A4%A")
    assert found(page) == "407 micrographs"
    assert names(page)[0] == "bad"


def test_by_keyboard_alone(chromium, index):
    page = chromium.open(index)
    page.get_by_role("searchbox").focus()
    page.keyboard.type("n00")
    assert found(page) == "10 of 407 micrographs match"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.value") == "rejected"
    assert found(page) == "0 of 407 micrographs match"
    page.keyboard.press("ArrowLeft")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Micrograph":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert names(page)[0] == "n009"


def test_a_hostile_name_is_text_and_leads_to_its_page(chromium, index):
    page = chromium.open(index, "micrographs?search=.mrc")
    assert names(page) == [HOSTILE]
    assert page.locator("#micrographs tbody b").count() == 0
    link = page.locator("#micrographs tbody a")
    assert link.get_attribute("href") == "micrographs/%253Cb%253E%26%2522%2527.mrc.html"


def test_opening_a_row_keeps_the_order_of_the_table(chromium, run, index):
    target = run.results / "report" / "micrographs" / "m2.html"
    target.write_text("<!DOCTYPE html><title>m2</title>")
    page = chromium.open(index, "micrographs?sort=-check")
    page.locator("#micrographs").get_by_role("link", name="m2").click()
    page.wait_for_url("**/m2.html")
    kept = json.loads(page.evaluate("sessionStorage.getItem('clearice.order')"))
    assert kept == ["m2", "m1", "m10", "%3Cb%3E&%22%27.mrc", "n000"]
    page.go_back()
    assert page.locator("#micrographs [aria-sort=descending]").text_content() == "Worst check"


def test_pictures_have_words_and_a_micrograph_without_a_page_no_link(chromium, index):
    page = chromium.open(index)
    assert page.locator("#micrographs tbody img").count() == 5
    assert page.locator("#micrographs tbody img[alt=raw]").count() == 5
    assert page.locator("#micrographs tbody tr").first.locator("a[href]").count() == 0


def test_what_is_printed_is_said(chromium, index):
    page = chromium.open(index)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#micrographs tbody tr").count() == 300
    said = page.locator(".only-printed").text_content()
    assert said == "300 of 407 micrographs are printed. All are in micrographs.tsv."
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#micrographs tbody tr").count() == 50
    few = chromium.open(index, "micrographs?split=test")
    assert printed(page)[1] > printed(few)[1] + 2


def test_rows_are_cards_on_a_phone(chromium, index):
    page = chromium.open(index, size=PHONE, touch=True)
    assert too_wide(page) == 0
    cell = page.locator("#micrographs tbody tr").nth(5).locator("td").last.bounding_box()
    assert cell["x"] >= 0
    assert cell["x"] + cell["width"] <= PHONE[0]
    head(page, "Worst check").tap()
    assert names(page)[0] == "n003"
