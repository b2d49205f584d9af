"""Questions and answers on the page: streamed, stopped, asked again, kept over reloads and shared by tabs."""

from __future__ import annotations

from page_steps import REPORT, add, ask

MARKDOWN = "It was **2020**.\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n- one\n- two\n\n```\nx < y\n```"


def test_an_answer_streams_with_markdown(page, mock):
    add(page, "report.md", REPORT)
    mock.answer, mock.pause = MARKDOWN, 0.01
    ask(page, "When did the auditors object?", done=False)
    page.wait_for_selector(".answer.growing strong >> text=2020")
    assert page.locator("#stop").is_visible()
    page.wait_for_selector(".actions")
    assert page.inner_text(".answer td.to-right") == "2"
    assert page.locator(".answer li").all_inner_texts() == ["one", "two"]
    assert page.inner_text(".answer pre") == "x < y"
    assert page.locator("#send").is_visible()


def test_what_is_asked_of_the_server(page, mock):
    add(page, "report.md", REPORT)
    ask(page, "What did the auditors object to?")
    page.click("label.only")
    page.click("#settings-button")
    page.click(".expert summary")
    page.fill("#policy", "asl:select_k=512")
    page.fill("#system", "Be brief.")
    page.fill("#temperature", "0.7")
    page.keyboard.press("Escape")
    ask(page, "And the ships?")
    first, second = mock.asked
    assert first["only_from_document"] is False and "policy" not in first
    assert first["messages"] == [{"role": "user", "content": "What did the auditors object to?"}]
    assert second["only_from_document"] is True
    assert (second["policy"], second["temperature"]) == ("asl:select_k=512", 0.7)
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "user"]
    assert second["documents"] == list(mock.documents)


def test_stop_ends_the_answer_and_the_request(page, mock):
    add(page, "report.md", REPORT)
    mock.answer, mock.pause = "word " * 500, 0.01
    ask(page, "What did the auditors object to?", done=False)
    page.wait_for_selector(".answer.growing")
    page.keyboard.press("Escape")
    page.wait_for_selector(".ended >> text=You stopped this answer")
    assert page.inner_text(".answer").startswith("word word")
    page.wait_for_timeout(100)
    assert mock.gone == 1
    mock.answer, mock.pause = "Tenders.", 0
    page.click("[aria-label='Ask again']")
    page.wait_for_selector(".answer >> text=Tenders.")
    assert page.locator(".turn").count() == 1


def test_an_error_is_shown_below_the_question(page, mock):
    add(page, "report.md", REPORT)
    mock.error = "The document and the question have 9,731 tokens, the context holds 8,192"
    ask(page, "What did the auditors object to?")
    assert "9,731 tokens" in page.inner_text(".turn .error-card")


def test_a_reload_keeps_answers_and_marks_what_it_cut_off(page, mock):
    add(page, "report.md", REPORT)
    ask(page, "What did the auditors object to?")
    mock.answer, mock.pause = "word " * 500, 0.01
    ask(page, "And the ships?", done=False)
    page.wait_for_selector(".answer.growing")
    page.reload()
    page.wait_for_selector(".ended >> text=The page was closed before the answer was complete")
    assert page.locator(".question").all_inner_texts()[0].endswith("What did the auditors object to?")
    assert page.locator(".turn").count() == 2
    assert page.locator(".turn").first.locator(".passage").count() > 0
    page.wait_for_selector("mark")


def test_two_tabs_share_documents_and_conversations(page, open_page, mock):
    add(page, "report.md", REPORT)
    other = open_page(beside=page)
    other.wait_for_selector(".sheet h1")
    mock.hold.clear()
    ask(page, "What did the auditors object to?", done=False)
    other.wait_for_selector(".ended >> text=Being answered in another tab")
    ask(other, "And the ships?", done=False)
    mock.hold.set()
    for tab in (page, other):
        tab.wait_for_function("() => document.querySelectorAll('.turn[data-state=done]').length === 2", polling=50)
        assert [text[-4:] for text in tab.locator(".question").all_inner_texts()] == [" to?", "ips?"]


def test_a_key_is_asked_for_and_sent(open_page, mock):
    mock.add("report.md", REPORT, kept=True)
    mock.key = "sesame"
    page = open_page()
    page.fill("#key", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#key:not([value])")
    page.fill("#key", "sesame")
    page.keyboard.press("Enter")
    page.wait_for_selector(".sheet h1")
    ask(page, "What did the auditors object to?")
