"""The watch on a page: what must fail a test of the report does."""

import pytest

from chromium import PHONE, accessibility_faults, drag_finger, faint_texts, printed, too_wide

SOUND = '<!DOCTYPE html><html lang="en"><title>t</title><main><h1>Title</h1><p>text</p></main>'


@pytest.fixture
def write(tmp_path):
    """A function that writes a page, SOUND with something added, and returns its path."""

    def write(added=""):
        path = tmp_path / "a page #1.html"
        path.write_text(SOUND + added)
        return path

    return write


def test_a_sound_page_has_no_faults(chromium, write):
    page = chromium.open(write())
    assert page.title() == "t"
    assert accessibility_faults(page) == []
    assert faint_texts(page) == []
    assert too_wide(page) == 0


@pytest.mark.parametrize(
    ("added", "fault"),
    [
        ("<script>throw Error('thrown')</script>", "error: thrown"),
        ("<script>console.error('said')</script>", "console error: said"),
        ("<script>Promise.reject(Error('lost'))</script>", "error: lost"),
        ("<img src='http://127.0.0.1:9/a.png' alt='a'>", "request: http://127.0.0.1:9/a.png"),
        ("<script>fetch('http://127.0.0.1:9/b')</script>", "request: http://127.0.0.1:9/b"),
        ("<script>new WebSocket('ws://127.0.0.1:9/c')</script>", "websocket: ws://127.0.0.1:9/c"),
    ],
    ids=["error", "console", "promise", "image", "fetch", "websocket"],
)
def test_a_page_that_errs_or_asks_a_network_is_found_out(chromium, write, added, fault):
    page = chromium.open(write(added))
    page.wait_for_timeout(100)  # for what the page began and did not wait for
    assert fault in chromium.close_pages()


def test_faint_text_is_found_by_its_computed_colour(chromium, write):
    faint = '<p style="color: rgb(0 0 0 / .4)">hard to read</p>'
    page = chromium.open(write(faint))
    assert [text for text, _ in faint_texts(page)] == ["hard to read"]
    scheme = "<style>:root { color-scheme: light dark }</style>"
    assert faint_texts(chromium.open(write(scheme), dark=True)) == []
    assert faint_texts(chromium.open(write(scheme + "<p style='color: #333'>x"), dark=True))


def test_missing_names_and_headings_out_of_order_are_found(chromium, write):
    page = chromium.open(write('<img src="data:,"><button></button><h4>deep</h4>'))
    rules = {fault.split(":")[0] for fault in accessibility_faults(page)}
    assert {"image-alt", "button-name", "heading-order"} <= rules


def test_a_page_without_scripts_a_phone_and_print(chromium, write):
    path = write(
        '<p id="js">no</p><script>document.getElementById("js").textContent = "yes"</script>'
        '<div style="width: 500px">wide</div><p style="break-before: page">next page</p>'
    )
    assert chromium.open(path, javascript=False).inner_text("#js") == "no"
    page = chromium.open(path, size=PHONE)
    assert page.inner_text("#js") == "yes"
    assert too_wide(page) > 0
    data, count = printed(page)
    assert data.startswith(b"%PDF")
    assert count == 2


def test_a_finger_is_dragged(chromium, write):
    path = write(
        '<div id="pad" style="width: 300px; height: 300px; touch-action: none"></div><script>'
        "const seen = []; for (const kind of ['pointerdown', 'pointermove', 'pointerup'])"
        " document.getElementById('pad').addEventListener(kind,"
        " (e) => seen.push([e.pointerType, kind]))</script>"
    )
    page = chromium.open(path, size=PHONE, touch=True)
    box = page.locator("#pad").bounding_box()
    at = box["x"] + 20, box["y"] + 20
    drag_finger(page, at, (at[0] + 100, at[1]))
    seen = page.evaluate("seen")
    assert seen[0] == ["touch", "pointerdown"]
    assert seen[-1] == ["touch", "pointerup"]
    assert len(seen) > 4
