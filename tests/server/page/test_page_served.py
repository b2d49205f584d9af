"""The page with the server and a model behind it."""

from __future__ import annotations

from pathlib import Path

from llama_fixtures import PRUNE
from page_steps import add, ask, words_under
from pdf_files import pdf_bytes
from served import served

LINE = "The pass key of the vault is 48213 and the miller of house {} sleeps until noon in June"


def short_answers(page) -> None:
    page.evaluate("() => localStorage.setItem('asl:settings', JSON.stringify({maxTokens: 3}))")
    page.reload()


def test_a_question_about_a_pdf_file_and_a_restart(open_page, tmp_path: Path) -> None:
    with served(tmp_path, policy=PRUNE) as server:
        page = open_page(url=server.url)
        page.set_default_timeout(60000)
        short_answers(page)
        file = {
            "name": "mill.pdf",
            "mimeType": "application/pdf",
            "buffer": pdf_bytes([LINE.format(i) for i in range(8)]),
        }
        page.set_input_files("#file-input", [file])
        page.wait_for_selector(".page.loaded")
        assert page.locator(".page").count() == 8
        page.wait_for_selector("#prefill:not(.shown)", state="attached")
        ask(page, "What is the pass key?")
        answers = page.evaluate(
            "() => JSON.parse(localStorage[Object.keys(localStorage).find(key => key.startsWith('asl:talk'))])"
        )
        assert answers[0]["state"] == "done", answers
        best = answers[0]["passages"][0]
        page.locator(".passage").first.click()
        page.wait_for_selector(f"[data-page='{best['page']}'] .words span", state="attached")
        assert words_under(page, 1) == " ".join(best["text"].split())
        page.click("[aria-label='How this answer was made']")
        assert "tokens" in page.inner_text(".pruning:popover-open")
        (document,) = server.http.get("/v1/documents").json()["data"]
        server.when_kept(document["id"])
    with served(tmp_path, policy=PRUNE) as server:
        page = open_page(url=server.url)
        page.set_default_timeout(60000)
        short_answers(page)
        page.wait_for_selector(".page.loaded")
        assert page.inner_text("#library-name") == "mill.pdf"
        ask(page, "What is the pass key?")
        page.click("[aria-label='How this answer was made']")
        assert "Known from before" in page.inner_text(".pruning:popover-open")


def test_markup_of_every_format_stays_text(open_page, tmp_path: Path) -> None:
    evil = "<script>window.bad = 1</script> Words & <img src=x onerror='window.bad = 2'> more words.\n\n" * 3
    html = "<h1>Title</h1><p>&lt;script&gt;window.bad = 3&lt;/script&gt; shown</p><script>window.bad = 4</script>"
    with served(tmp_path) as server:
        page = open_page(url=server.url)
        for name, text, shown in (
            ("a.txt", evil, "window.bad = 1"),
            ("b.md", evil, "window.bad = 1"),
            ("c.html", html, "window.bad = 3"),
        ):
            add(page, name, text)
            page.wait_for_selector(f".block >> text={shown}")
            assert page.locator("#document-scroller :is(script, img)").count() == 0
        assert page.evaluate("() => window.bad") is None
