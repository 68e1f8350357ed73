"""The page of a micrograph in Chromium: slider, zoom, neighbours; by mouse, touch and keyboard."""

import json

import pytest

from chromium import PHONE, accessibility_faults, drag_finger, faint_texts, printed, too_wide
from drawn_run import HOSTILE, DrawnRun

NAMES = [HOSTILE, "a", "b two", "held out"]  # as they are sorted
KEPT = """(order) => sessionStorage.setItem("clearice.order", order)"""

# Where the line is, and whose pixels lie left and right of it (nothing beyond the stage).
SPLIT = """() => {
  const stage = document.querySelector(".stage").getBoundingClientRect();
  const line = document.querySelector(".handle").getBoundingClientRect();
  const x = line.x + line.width / 2, y = stage.y + stage.height / 4;
  const role = (x) => document.elementFromPoint(x, y)?.closest(".layer")?.dataset.role;
  return [(x - stage.x) / stage.width, role(x - 4), role(x + 4)];
}"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose micrographs are drawn."""
    made = DrawnRun(tmp_path_factory.mktemp("pages"), NAMES, tested=["held out"])
    made.draw()
    return made


@pytest.fixture
def opened(chromium, run):
    """A function that opens the page of a micrograph."""
    return lambda name="a", **how: chromium.open(run.page(name), **how)


def split(page):
    """Return where the raw picture ends, a share of the width; what lies beside it is looked at."""
    at, left, right = page.evaluate(SPLIT)
    assert (left or "raw", right != "raw") == ("raw", True)
    return round(at, 2)


def shown(page):
    """Return the fields and pictures that can be seen: [(view, role)]."""
    return page.eval_on_selector_all(
        ".layer[data-role]",
        "all => all.filter(l => l.checkVisibility())"
        ".map(l => [l.parentElement.dataset.view, l.dataset.role])",
    )


def zoomed(page):
    """Return by how much the picture is enlarged."""
    return page.eval_on_selector(
        ".field:not([hidden]) img",
        "img => img.getBoundingClientRect().width"
        " / img.closest('.stage').getBoundingClientRect().width",
    )


def test_raw_and_denoised_lie_under_one_slider(opened):
    page = opened()
    assert shown(page) == [["whole", "raw"], ["whole", "denoised"]]
    assert split(page) == pytest.approx(0.5)
    assert page.input_value("#split") == "500"


def test_the_slider_follows_the_mouse(opened):
    page = opened()
    box = page.locator(".stage").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.5 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], middle, steps=4)
    page.mouse.up()
    assert split(page) == pytest.approx(0.2, abs=0.01)
    assert page.input_value("#split") == "200"
    page.mouse.move(box["x"] + 0.9 * box["width"], middle)
    assert split(page) == pytest.approx(0.2, abs=0.01)  # the button is up


def test_the_slider_follows_a_finger(opened):
    page = opened(size=PHONE, touch=True)
    box = page.locator(".stage").bounding_box()
    middle = box["y"] + box["height"] / 2
    drag_finger(
        page,
        (box["x"] + 0.5 * box["width"], middle),
        (box["x"] + 0.8 * box["width"], middle),
    )
    assert split(page) == pytest.approx(0.8, abs=0.02)


def test_the_slider_follows_the_keyboard(opened):
    page = opened()
    page.focus("#split")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert split(page) == pytest.approx(0.51)
    page.keyboard.press("Home")
    assert split(page) == pytest.approx(0)
    assert page.get_attribute("#split", "aria-valuetext") == "raw up to 0 %"
    page.focus(".stage")
    page.keyboard.press("ArrowRight")
    assert split(page) == pytest.approx(0.02)
    assert page.url.endswith("/a.html")  # arrows moved the slider, not the page


def test_the_picture_is_zoomed_by_buttons_keys_and_wheel_and_moved(opened):
    page = opened()
    assert zoomed(page) == pytest.approx(1)
    page.click("#in")
    assert zoomed(page) == pytest.approx(1.25)
    page.keyboard.press("+")
    page.keyboard.press("-")
    assert zoomed(page) == pytest.approx(1.25)
    page.focus(".stage")
    page.hover(".stage")
    page.mouse.wheel(0, -240)
    page.wait_for_function("document.querySelector('#zoom').textContent !== '1.3×'")
    assert zoomed(page) > 1.5
    before = page.locator(".field:not([hidden]) img").first.bounding_box()
    page.keyboard.press("ArrowRight")
    after = page.locator(".field:not([hidden]) img").first.bounding_box()
    assert after["x"] < before["x"]
    page.click("#fit")
    assert zoomed(page) == pytest.approx(1)
    page.keyboard.press("0")
    for _ in range(40):
        page.keyboard.press("+")
    assert zoomed(page) == pytest.approx(16)


def test_the_wheel_scrolls_the_page_until_the_picture_is_chosen(opened):
    page = opened()
    page.hover(".stage")
    page.mouse.wheel(0, 200)
    page.wait_for_function("scrollY > 0")
    assert zoomed(page) == pytest.approx(1)


def test_other_pictures_and_fields_are_chosen_and_stay_chosen(opened):
    page = opened()
    page.check("input[value=residual]")
    assert "structure in it" in page.inner_text("#look .caption >> nth=0")
    page.keyboard.press("v")
    assert shown(page) == [["centre", "raw"], ["centre", "residual"]]
    assert page.inner_text(".name.right") == "raw − denoised"
    page.click("#next")
    page.wait_for_url("**/b%20two.html")
    assert shown(page) == [["centre", "raw"], ["centre", "residual"]]


def test_patches_are_drawn_over_the_whole_field(opened):
    page = opened()
    assert not page.is_visible(".overlay")
    page.check("#patches")
    assert page.is_visible(".overlay")
    assert page.get_attribute(".overlay svg", "aria-label") == "3 patches of 32 px"


def test_a_scale_bar_is_round_and_follows_the_zoom(opened):
    page = opened()
    width = page.locator(".stage").bounding_box()["width"]
    bar = page.locator(".stage .bar")
    assert bar.inner_text() == "2 nm"  # 128 px of 1.5 angstrom are 19.2 nm
    assert bar.bounding_box()["width"] == pytest.approx(width * 2 / 19.2, rel=0.01)
    for _ in range(4):
        page.keyboard.press("+")
    assert bar.inner_text() == "1 nm"


def test_neighbours_are_reached_by_links_and_keys(opened):
    page = opened(HOSTILE)
    assert page.inner_text("#position") == "1 of 4"
    assert page.is_hidden("#previous")
    page.keyboard.press("ArrowLeft")  # there is none
    assert page.inner_text("#next") == "a ›"
    for key, name in (("ArrowRight", "a"), ("j", "b two"), ("j", "held out"), ("k", "b two")):
        page.keyboard.press(key)
        page.wait_for_function("name => document.title === name", arg=name)
        assert page.inner_text("#position") == f"{NAMES.index(name) + 1} of 4"
    page.click("#previous")
    page.wait_for_function("document.title === 'a'")


def test_neighbours_follow_the_table_as_it_was_filtered(opened):
    page = opened()
    page.evaluate(KEPT, json.dumps(["held out", "a"]))
    page.reload()
    assert page.inner_text("#position") == "2 of 2"
    assert page.inner_text("#previous") == "‹ held out"
    assert page.is_hidden("#next")
    page.evaluate(KEPT, json.dumps(["removed since", "held out", "a", "removed, too"]))
    page.reload()
    assert page.inner_text("#position") == "2 of 2"
    assert page.is_hidden("#next")
    for spoilt in ("{", '{"a": 1}', '["other"]', "null"):
        page.evaluate(KEPT, spoilt)
        page.reload()
        assert page.inner_text("#position") == "2 of 4"


def test_a_hostile_name_is_text_everywhere(opened):
    page = opened(HOSTILE)
    assert page.title() == page.inner_text("h1") == HOSTILE
    assert page.locator("b").count() == 0
    assert page.get_attribute(".layer img >> nth=0", "alt") == f"raw, whole field, of {HOSTILE}"


@pytest.mark.parametrize("how", [{}, {"dark": True}, {"size": PHONE, "touch": True}], ids=str)
def test_a_page_is_readable_and_accessible(opened, how):
    page = opened("held out", **how)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert faint_texts(page) == []
    assert accessibility_faults(page) == []
    assert too_wide(page) == 0


def test_a_page_without_scripts_or_on_paper_shows_both_pictures(chromium, run, opened):
    page = opened(javascript=False)
    assert page.is_visible(".layer[data-role=denoised] >> nth=0")
    assert split(page) == pytest.approx(0.5)
    data, pages = printed(opened("held out"))
    assert data.startswith(b"%PDF")
    assert pages < 8


def test_a_page_without_pictures_opens_without_errors(chromium, tmp_path):
    run = DrawnRun(tmp_path, ["a", "b"])
    run.image("a", "raw").unlink()
    run.draw()
    page = chromium.open(run.page("a"))
    assert "no such file" in page.inner_text(".fault")
    page.keyboard.press("+")
    page.keyboard.press("j")
    page.wait_for_function("document.title === 'b'")
