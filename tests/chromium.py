"""Pages of a report in the system's Chromium, watched: no errors, nothing from a network."""

import os
import re
import shutil
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
LAPTOP = (1280, 800)
PHONE = (390, 844)
OWN_SCHEMES = ("file:", "data:", "blob:", "about:")

_FAINT_TEXTS = Path(__file__).parent / "browser" / "faint_texts.js"


def executable():
    """Return the path of a Chromium on PATH, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One running browser, and the pages that a test opened in it."""

    def __init__(self):
        self._playwright = sync_playwright().start()
        try:
            # Playwright leaves the sandbox off, which root in a container cannot have.
            self._browser = self._playwright.chromium.launch(executable_path=executable())
        except BaseException:
            self._playwright.stop()
            raise
        self.opened = []

    def stop(self):
        """End the browser and the process that drives it."""
        self._browser.close()
        self._playwright.stop()

    def open(self, path, fragment="", size=LAPTOP, dark=False, touch=False, javascript=True):
        """Open a file, with `fragment` after the # of its address; return Playwright's page.

        `size` is (width, height) of the window in CSS px. A page with `touch` is a phone's.
        """
        context = self._browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            has_touch=touch,
            is_mobile=touch,
            java_script_enabled=javascript,
            reduced_motion="reduce",  # what is scrolled to is there at once
        )
        page = context.new_page()
        watched = Watched(page)
        self.opened.append(watched)
        address = Path(os.path.abspath(path)).as_uri()
        page.goto(address + (f"#{fragment}" if fragment else ""))
        return page

    def close_pages(self):
        """Close what a test opened; return what its pages did that no page of ours may."""
        faults = []
        for watched in self.opened:
            watched.page.context.close()
            faults += watched.faults
        self.opened.clear()
        return faults


class Watched:
    """A page, and its `faults`: errors, lines on the console, and requests to a network."""

    def __init__(self, page):
        self.page, self.faults = page, []
        page.context.on("console", self._console)
        page.context.on("weberror", lambda found: self.faults.append(f"error: {found.error}"))
        page.context.on("request", self._request)
        page.on("websocket", lambda socket: self.faults.append(f"websocket: {socket.url}"))

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.faults.append(f"console {message.type}: {message.text}")

    def _request(self, request):
        if not request.url.startswith(OWN_SCHEMES):
            self.faults.append(f"request: {request.url}")


def faint_texts(page, least=4.5):
    """Return [text, contrast] of every text with less contrast than WCAG asks of small ones."""
    return page.evaluate(_FAINT_TEXTS.read_text(), least)


def too_wide(page):
    """Return by how many CSS px the page is wider than the window: 0 if none scrolls sideways."""
    return page.evaluate("(r => r.scrollWidth - r.clientWidth)(document.documentElement)")


def accessibility_faults(page):
    """Return what axe-core (WCAG 2 A and AA, best practices) finds: one line per rule and place."""
    rules = Axe().run(page).response["violations"]
    places = [(rule, node) for rule in rules for node in rule["nodes"]]
    return [f"{rule['id']}: {rule['help']}: {node['html'][:120]}" for rule, node in places]


def sections_shown(page):
    """Return the ids of the page's sections that take up room, in their order."""
    return page.eval_on_selector_all(
        "section", "all => all.filter(s => s.getBoundingClientRect().height > 20).map(s => s.id)"
    )


def printed(page):
    """Print the page to PDF; return (bytes, number of its pages)."""
    data = page.pdf(format="A4")
    return data, len(re.findall(rb"/Type\s*/Page\b", data))


def drag_finger(page, start, end, steps=8):
    """Put a finger down at `start`, (x, y) in CSS px, move it to `end` and lift it."""
    session = page.context.new_cdp_session(page)
    points = [
        [a + (b - a) * step / steps for a, b in zip(start, end, strict=True)]
        for step in range(steps + 1)
    ]
    for step, (x, y) in enumerate(points):
        session.send(
            "Input.dispatchTouchEvent",
            {"type": "touchMove" if step else "touchStart", "touchPoints": [{"x": x, "y": y}]},
        )
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    session.detach()
