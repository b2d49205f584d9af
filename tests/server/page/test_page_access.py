"""For everyone: no trouble that axe finds, keyboard alone, a phone, dark and light."""

from __future__ import annotations

import pytest
from page_steps import PAGES, REPORT, add, ask


def assert_axe_finds_nothing(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(one["id"], one["impact"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found] == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_nothing(open_page, mock, width, scheme):
    page = open_page(width=width, color_scheme=scheme, bypass_csp=True)
    assert_axe_finds_nothing(page)
    mock.add("fish.pdf", PAGES, kept=True)
    page.evaluate("() => dispatchEvent(new Event('focus'))")
    add(page, "report.md", REPORT)
    if width == 400:
        page.click("[role=tab][data-tab=talk]")
    mock.answer = "It was **2020**.\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n```\nx\n```"
    ask(page, "What did the auditors object to?")
    assert_axe_finds_nothing(page)
    page.click("[aria-label='How this answer was made']")
    assert_axe_finds_nothing(page)
    page.keyboard.press("Escape")
    page.click("#library-button")
    assert_axe_finds_nothing(page)
    page.click("text=fish.pdf")
    page.click("#settings-button")
    page.click(".expert summary")
    assert_axe_finds_nothing(page)


def test_keyboard_alone(page):
    add(page, "report.md", REPORT)
    page.keyboard.press("/")
    page.keyboard.type("What did the auditors object to?")
    page.keyboard.press("Enter")
    page.wait_for_selector(".actions")
    page.locator("#question").focus()
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("() => document.activeElement.classList.contains('passage')"):
            break
    number = page.evaluate("() => document.activeElement.dataset.passage")
    assert page.locator(f"mark.active[data-passage='{number}']").count() > 0
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.className") == "passage"
    page.locator("#library-button").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "library-choice"
    page.keyboard.press("Escape")
    assert page.evaluate("() => document.activeElement.id") == "library-button"


def test_a_phone_shows_one_half_and_goes_back_and_forth(open_page):
    page = open_page(width=400, has_touch=True)
    add(page, "fish.pdf", PAGES)
    assert page.locator("#talk-half").is_hidden()
    page.click("[role=tab][data-tab=talk]")
    ask(page, "lobsters")
    page.locator(".passage").first.tap()
    page.wait_for_selector("[data-page='3'] .mark.active")
    assert page.locator("#talk-half").is_hidden()
    page.click("#back-to-answer")
    assert page.locator(".passage").first.is_visible()
    for tab in ("document", "talk"):
        page.click(f"[role=tab][data-tab={tab}]")
        assert page.evaluate("() => document.documentElement.scrollWidth") == 400


def test_dark_and_light_are_kept(page):
    page.click("#theme-button")
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.reload()
    assert page.get_attribute("html", "data-theme") == "dark"
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == dark
    page.click("#theme-button")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") != dark
