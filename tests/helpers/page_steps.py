"""What a person does on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

REPORT = """# The harbour of Westerby

## Costs

The old pier was closed in 2019. The *auditors* objected to the costs of the pier 🛳️ in 2020. Nobody asked for tenders.

## Ships

""" + "\n\n".join(f"In month {i} there were {i * 7} ships in the harbour." for i in range(1, 120))

PAGES = "\f".join(
    "\n".join(f"Page {page} has line {line} about {word}." for line in range(1, 30))
    for page, word in enumerate(("herring", "cod", "lobsters", "mackerel", "plaice", "turbot"), 1)
)

# the words of the text layer, half of which at least lie below a mark
_UNDER = """number => {
    const marks = [...document.querySelectorAll(`.page .mark[data-passage="${number}"]`)]
        .map(mark => mark.getBoundingClientRect());
    return [...document.querySelectorAll(".words span")].filter(span => {
        const w = span.getBoundingClientRect();
        return marks.some(m => Math.min(w.right, m.right) - Math.max(w.left, m.left) > w.width / 2
            && Math.min(w.bottom, m.bottom) - Math.max(w.top, m.top) > w.height / 2);
    }).map(span => span.textContent.trim()).join(" ");
}"""


def add(page: Page, name: str, text: str) -> None:
    """Choose a file of this name and text, and wait until it is shown."""
    page.set_input_files("#file-input", [{"name": name, "mimeType": "text/plain", "buffer": text.encode()}])
    page.wait_for_function("name => document.getElementById('library-name').textContent === name", arg=name)
    page.wait_for_selector(".page, .block, .said[role=alert]")


def ask(page: Page, question: str, done: bool = True) -> None:
    """Type a question and press Enter; wait for the end of the answer."""
    n = page.locator(".turn").count()
    page.fill("#question", question)
    page.keyboard.press("Enter")
    page.locator(".turn").nth(n).wait_for()
    if done:
        page.locator(".turn").nth(n).locator(".actions").wait_for()


def words_under(page: Page, number: int) -> str:
    """The words of the text layer that this passage's marks lie on; its page must be loaded."""
    words: str = page.evaluate(_UNDER, number)
    return words
