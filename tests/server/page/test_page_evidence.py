"""Passages of an answer, in the document: the right words are marked, and scrolled to."""

from __future__ import annotations

from page_steps import PAGES, REPORT, add, ask, words_under

IN_SIGHT = """selector => {
    const frame = document.getElementById("document-scroller").getBoundingClientRect();
    return [...document.querySelectorAll(selector)].some(e => {
        const box = e.getBoundingClientRect();
        return box.top >= frame.top && box.bottom <= frame.bottom;
    });
}"""


def marked(page, number):
    return "".join(page.locator(f"mark[data-passage='{number}']").all_text_contents())


def test_words_of_a_text_are_marked_behind_characters_of_two_units(page):
    add(page, "report.md", "🛳️🛳️ Ships.\n\n" + REPORT)
    ask(page, "auditors objected costs pier; nobody asked")
    assert marked(page, 1) == "The auditors objected to the costs of the pier 🛳️ in 2020."
    assert marked(page, 2) == "Nobody asked for tenders."


def test_words_of_a_page_are_marked(page, mock):
    add(page, "fish.pdf", PAGES)
    ask(page, "line about lobsters")
    (document,) = mock.documents
    best = mock.evidence(document, "line about lobsters")[0]
    page.wait_for_selector(f"[data-page='{best['page']}'] .words span", state="attached")
    page.wait_for_function(IN_SIGHT, arg=".mark[data-passage='1']")
    assert words_under(page, 1) == " ".join(best["text"].split())
    assert best["page"] == 3


def test_pointing_highlights_and_pressing_scrolls(page):
    add(page, "ships.pdf", "\f".join(f"The anchor of ship {i}.\n" + "Nothing else.\n" * 30 for i in range(1, 7)))
    ask(page, "Which anchor?")
    page.click(".more")
    far = page.locator(".passage", has_text="The anchor of ship 6.")
    number = far.get_attribute("data-passage")
    far.hover()
    assert {mark.get_attribute("data-passage") for mark in page.locator(".mark.active").all()} == {number}
    assert not page.evaluate(IN_SIGHT, f".mark[data-passage='{number}']")
    far.click()
    page.wait_for_function(IN_SIGHT, arg=f".mark[data-passage='{number}']")
    page.wait_for_function("() => document.querySelector('#page-input').value === '6'")
    page.locator(f".mark-number[data-passage='{number}']").click()
    assert page.evaluate("() => document.activeElement.dataset.passage") == number


def test_of_many_passages_the_best_are_shown(page):
    add(page, "fish.pdf", PAGES)
    ask(page, "about lobsters")
    page.click(".more")
    page.wait_for_selector("text=These are the best 24 of 174.")
    assert page.locator(".passage").count() == 24
    assert page.locator(".passage").nth(23).inner_text().split("\n")[1] == "Page 3 has line 24 about lobsters."


def test_the_map_shows_where_the_attention_lay(page):
    add(page, "report.md", REPORT)
    assert page.locator("#map").is_hidden()
    ask(page, "month ships 119 118 harbour")
    page.wait_for_selector("#map:visible")
    painted = """() => {
        const map = document.getElementById("map");
        const pixels = map.getContext("2d").getImageData(0, 0, map.width, map.height).data;
        const rows = [];
        for (let y = 0; y < map.height; y += 1) {
            const at = 4 * (y * map.width + map.width - 4);
            if (pixels[at + 3] > 200 && pixels[at] > 180) rows.push(y / map.height);
        }
        return [rows.length, Math.min(...rows)];
    }"""
    page.wait_for_function(f"() => ({painted})()[0] > 20")
    _, first = page.evaluate(painted)
    assert first > 0.03  # nothing in the heading
    page.mouse.click(*[page.locator("#map").bounding_box()[key] + 5 for key in ("x", "y")])
    page.wait_for_function("() => document.getElementById('document-scroller').scrollTop === 0")


def test_an_older_answer_takes_the_marks_when_it_is_pointed_at(page):
    add(page, "report.md", REPORT)
    ask(page, "auditors objected")
    ask(page, "tenders")
    assert marked(page, 1) == "Nobody asked for tenders."
    page.locator(".turn").first.locator(".passage").first.focus()
    assert marked(page, 1).startswith("The auditors objected")
    assert page.locator("mark.active").count() > 0


def test_what_was_pruned_is_behind_the_i(page):
    add(page, "report.md", REPORT)
    ask(page, "auditors objected")
    page.click("[aria-label='How this answer was made']")
    text = page.inner_text(".pruning:popover-open")
    for part in ("2,048 of 7,936 tokens", "7 of 12", "150 MB", "instead of 180 MB", "1.2 s"):
        assert part in text
