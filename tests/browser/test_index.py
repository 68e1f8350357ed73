"""The page of a report in Chromium: light, dark, on a phone, printed, and without scripts."""

import pytest

from chromium import (
    PHONE,
    accessibility_faults,
    faint_texts,
    printed,
    sections_shown,
    too_wide,
)
from report_run import Run, add_everything


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """The page of a run with everything."""
    run = add_everything(Run(tmp_path_factory.mktemp("run")))
    run.add_drawn(["m1", "m2"])
    run.write()
    return run.outputs()["page"]


def test_the_page_shows_every_section_and_makes_no_request(chromium, index):
    page = chromium.open(index)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    assert [address for address in asked if not address.startswith("data:")] == [page.url]
    ids = page.eval_on_selector_all("section", "all => all.map(s => s.id)")
    assert sections_shown(page) == ids
    assert "micrographs" in ids
    for address in page.eval_on_selector_all("nav a", "all => all.map(a => a.hash.slice(1))"):
        assert page.locator(f"#{address}").count() == 1


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_is_easy_to_read_and_every_part_has_a_name(chromium, index, dark):
    page = chromium.open(index, dark=dark)
    for details in page.locator("details").all():
        details.evaluate("it => { it.open = true }")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(int(part) for part in ground[4:-1].split(",")) < 60) == dark
    assert faint_texts(page) == []
    assert accessibility_faults(page) == []


def test_a_phone_scrolls_down_and_not_sideways(chromium, index):
    page = chromium.open(index, size=PHONE, touch=True)
    assert too_wide(page) == 0
    assert faint_texts(page) == []
    assert accessibility_faults(page) == []


def test_all_sections_are_printed(chromium, index):
    page = chromium.open(index)
    shown = sections_shown(page)
    data, pages = printed(page)
    assert pages > 2
    assert len(data) > 20_000
    page.emulate_media(media="print")
    assert sections_shown(page) == shown


def test_without_scripts_the_page_reads_as_well(chromium, index):
    page = chromium.open(index, javascript=False)
    assert sections_shown(page) == sections_shown(chromium.open(index))
    assert page.locator("#micrographs tbody tr").count() == 4
    assert page.locator("#micrographs form").is_hidden()
