"""Whatever a document, its name or an answer says stays text."""

from __future__ import annotations

import re

from page_mock import STATIC
from page_steps import add, ask

EVIL = """<script>window.bad = 1</script> <img src=x onerror="window.bad = 2"> **<b onclick=1>x</b>**

| <script>window.bad = 3</script> | b |
|---|---|
| <img src=x onerror=window.bad=4> | [link](javascript:window.bad=5) |

[a](data:text/html,<script>1</script>) ![p](http://example.com/p.png) <iframe src=x></iframe>
"""
NAME = '<img src=x onerror="window.bad=6">.md'


def test_script_tags_stay_text(page, mock):
    mock.answer = EVIL
    add(page, NAME, EVIL)
    ask(page, "<script>window.bad = 7</script> script window?")
    page.click("#library-button")
    for place in ("#document-scroller", ".turn-answer"):
        assert "<script>window.bad = 1</script>" in page.inner_text(place)
        assert page.locator(f"{place} :is(script, img, iframe, b)").count() == 0
        assert page.locator(f"{place} a").count() == 0
    assert page.inner_text(".library-title") == NAME
    assert page.inner_text(".question").endswith("<script>window.bad = 7</script> script window?")
    assert page.evaluate("() => window.bad") is None


def test_an_error_with_markup_stays_text(page, mock):
    add(page, "a.txt", "Some words.")
    mock.error = "<img src=x onerror=window.bad=1>"
    ask(page, "words")
    assert "<img" in page.inner_text(".error-card")
    assert page.evaluate("() => window.bad") is None


def test_links_of_an_answer_open_elsewhere_and_tell_nothing(page, mock):
    add(page, "a.txt", "Some words.")
    mock.answer = "See [there](https://example.com/x) or https://example.com/y."
    ask(page, "words")
    links = page.locator(".answer a")
    assert [link.get_attribute("href") for link in links.all()] == ["https://example.com/x", "https://example.com/y"]
    assert {link.get_attribute("rel") for link in links.all()} == {"noopener noreferrer"}


def test_no_markup_is_made_of_text_and_nothing_is_fetched_from_elsewhere():
    files = [path for path in STATIC.rglob("*") if path.suffix in {".js", ".css", ".html"}]
    assert len(files) > 20
    for path in files:
        text = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text), path
        assert not re.search(r"<style|\sstyle=|\son\w+=\"|@import|url\(", text), path
        assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}, path


def test_hostile_markdown_does_not_stop_the_page(page):
    texts = [
        "*" * 60000,
        "[" * 60000,
        "> " * 30000,
        "- " * 30000,
        "`" * 60000,
        "*a " * 60000,
        "|" * 60000 + "\n|-|-|",
        "\n" * 60000,
    ]
    code = """async texts => {
        const {blocks} = await import("/static/app/markdown/blocks.js");
        const {renderBlock} = await import("/static/app/markdown/render.js");
        return texts.map(text => {
            const start = performance.now();
            for (const block of blocks(text)) renderBlock(text, block);
            return performance.now() - start;
        });
    }"""
    assert max(page.evaluate(code, texts)) < 3000
