"""A real Chromium, the page in it, and a server without a model behind it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from page_mock import PageMock

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]

Open = Callable[..., "Page"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the page is tested with playwright: pip install it")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("the page is tested in Chromium, which is not here (Debian and Ubuntu: apt install chromium)")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def mock() -> Iterator[PageMock]:
    started = PageMock()
    yield started
    started.hold.set()
    started.halfway.set()
    started.stop()


@pytest.fixture
def open_page(browser: Browser, mock: PageMock) -> Iterator[Open]:
    """Opens the page in a browser of its own, or in that of another page. What goes wrong in it fails the test."""
    wrong: list[str] = []
    contexts = []

    def open_one(beside: Page | None = None, width: int = 1280, url: str = mock.url, **options: Any) -> Page:
        if beside is None:
            options |= {"viewport": {"width": width, "height": 800}, "reduced_motion": "reduce"}
            contexts.append(browser.new_context(**options))
        page = (contexts[-1] if beside is None else beside.context).new_page()
        page.set_default_timeout(10000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
        page.on("request", lambda one: wrong.append(one.url) if not one.url.startswith((url, "blob:")) else None)
        page.goto(url)
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def page(open_page: Open) -> Page:
    return open_page()
