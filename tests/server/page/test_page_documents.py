"""Documents on the page: added, shown while they are prefilled, removed, there after a restart of the server."""

from __future__ import annotations

import pytest
from page_steps import PAGES, REPORT, add, ask

DROP = """files => {
    const data = new DataTransfer();
    for (const [name, text] of files) data.items.add(new File([text], name));
    const options = {bubbles: true, cancelable: true, dataTransfer: data};
    for (const type of ["dragenter", "dragover", "drop"])
        document.querySelector("#welcome").dispatchEvent(new DragEvent(type, options));
}"""


def test_the_empty_page_says_what_to_do(page):
    page.wait_for_selector("#welcome", state="visible")
    assert "Drop a file" in page.inner_text("#welcome")
    assert page.locator("#halves").is_hidden()


def test_dropped_files_are_added_and_the_first_is_opened(page, mock):
    page.evaluate(DROP, [["report.md", REPORT], ["fish.pdf", PAGES]])
    page.wait_for_selector(".sheet h1 >> text=The harbour of Westerby")
    page.click("#library-button")
    page.locator(".library-title").nth(1).wait_for()
    page.wait_for_function("() => document.querySelectorAll('.library-about.ready').length === 2")
    assert {document["name"] for document in mock.documents.values()} == {"report.md", "fish.pdf"}


def test_pages_appear_while_the_bar_tells_layer_and_time_left(page, mock):
    mock.halfway.clear()
    add(page, "fish.pdf", PAGES)
    page.wait_for_selector("#prefill.shown >> text=Layer 7 of 12")
    page.wait_for_selector(".page.loaded")
    assert page.inner_text("#prefill .progress-left") == "about 45 s left"
    assert page.get_attribute("[role=progressbar]", "aria-valuenow") == "50"
    mock.halfway.set()
    page.wait_for_selector("#prefill:not(.shown)", state="attached")
    assert len(mock.prefilled) == 1


def test_a_stopped_prefill_goes_on_when_told_to(page, mock):
    mock.pause = 0.02
    mock.hold.clear()
    add(page, "fish.pdf", PAGES)
    page.click("[aria-label='Stop getting to know the document']")
    page.wait_for_selector("#prefill >> text=Stopped")
    mock.hold.set()
    page.click("#prefill >> text=Go on")
    page.wait_for_selector("#prefill:not(.shown)", state="attached")
    assert len(mock.prefilled) == 2


def test_what_cannot_be_read_says_why_where_it_would_be_shown(page):
    add(page, "broken.pdf", "BROKEN")
    page.wait_for_selector(".said >> text=broken.pdf is a damaged file: its end is missing")
    assert page.is_disabled("#question")


def test_pages_far_away_are_not_loaded(page):
    add(page, "fish.pdf", "\f".join([PAGES] * 4))
    page.wait_for_selector(".page.loaded")
    assert page.locator(".page").count() == 24
    assert page.locator(".page.loaded").count() < 8
    page.fill("#page-input", "24")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-page='24'].loaded")
    assert page.input_value("#page-input") == "24"


def test_a_removed_document_takes_its_conversation_along(page, mock):
    add(page, "report.md", REPORT)
    ask(page, "What did the auditors object to?")
    page.click("#library-button")
    page.click("[aria-label='Remove report.md']")
    page.click("#library .danger")
    page.wait_for_selector("#welcome", state="visible")
    assert mock.documents == {}
    assert page.evaluate("() => Object.keys(localStorage).filter(key => key.startsWith('asl:talk'))") == []


@pytest.mark.slow
def test_the_page_lives_through_a_restart_of_the_server(page, mock):
    add(page, "report.md", REPORT)
    ask(page, "What did the auditors object to?")
    mock.stop()
    page.fill("#question", "And the ships?")
    page.keyboard.press("Enter")
    page.wait_for_selector(".error-card >> text=The server does not answer")
    mock.start()
    page.locator(".turn").nth(1).locator("[aria-label='Ask again']").click()
    page.wait_for_function("() => document.querySelectorAll('.turn')[1].dataset.state === 'done'")
    page.reload()
    page.locator(".turn").nth(1).wait_for()
    assert page.locator(".error-card").count() == 0
