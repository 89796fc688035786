"""Pages in a real browser, where there is one."""

from __future__ import annotations

import pytest


@pytest.fixture
def visit(browser, tmp_path):
    """Opens a page's text in the browser and returns the browser; at the end the console must be empty."""
    browser.get_log("browser")

    def open_page(text):
        path = tmp_path / "page.html"
        path.write_text(text, encoding="utf-8")
        browser.get(path.as_uri())
        return browser

    yield open_page
    assert browser.get_log("browser") == []
