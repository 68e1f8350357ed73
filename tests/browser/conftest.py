"""A Chromium for tests of the report; a page that errs or asks a network fails its test."""

import pytest

from chromium import NAMES, Chromium, executable


@pytest.fixture(scope="module")
def one_chromium():
    """A browser for the tests of one file; they are skipped where the system has none."""
    if executable() is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on PATH")
    browser = Chromium()
    yield browser
    browser.stop()


@pytest.fixture
def chromium(one_chromium):
    """The browser; a page that did what it may not fails the test at its end."""
    yield one_chromium
    faults = one_chromium.close_pages()
    assert faults == []
