"""Questions about documents over HTTP: the answer, its evidence, and the same as `Document.ask` gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_fixtures import PRUNE, load_narrow
from served import OPTIONS, TEXT, Served, served

QUESTION = "What is the pass key?"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(scope="module")
def document(server: Served) -> str:
    return str(server.upload()["id"])


def test_an_answer_is_what_the_document_itself_answers(server: Served, document: str) -> None:
    with_server = server.ask(QUESTION, document, max_tokens=6).json()
    llm = load_narrow(kv_policy=PRUNE, **OPTIONS)
    own = llm.read(text=TEXT, name="valley.txt").ask(QUESTION, max_tokens=6)
    assert with_server["choices"][0]["message"]["content"] == own.text
    assert with_server["usage"] == own.usage
    shown = [(span["start"], span["end"], span["text"]) for span in with_server["evidence"]]
    assert shown == [(span.start, span.end, span.text) for span in own.evidence]
    assert with_server["pruning"]["n_kept"] == own.report.n_selected < with_server["pruning"]["n_tokens"]
    llm.close()


def test_evidence_lies_at_its_offsets_in_the_text(server: Served, document: str) -> None:
    text = server.http.get(f"/v1/documents/{document}/text").json()["text"]
    assert text == TEXT
    for span in server.ask(QUESTION, document).json()["evidence"]:
        assert span["document"] == document and text[span["start"] : span["end"]] == span["text"]


def test_a_stream_tells_the_progress_then_the_answer_then_what_it_rests_on(server: Served) -> None:
    document = server.upload(TEXT + "once more", "other.txt")["id"]
    found = server.stream(QUESTION, document, max_tokens=6)
    progress = [chunk["prompt_progress"] for chunk in found if "prompt_progress" in chunk]
    assert progress[0]["queue_position"] == 0 and len(progress) > 1
    done = [step["processed"] for step in progress]
    assert done == sorted(done) and done[-1] <= progress[-1]["total"]
    pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in found]
    first = next(i for i, piece in enumerate(pieces) if piece)
    assert not any("prompt_progress" in chunk for chunk in found[first:])
    last = found[-1]
    assert last["choices"][0]["finish_reason"] in ("length", "stop")
    whole = server.ask(QUESTION, document, max_tokens=6).json()
    assert last["evidence"] == whole["evidence"] and last["usage"] == whole["usage"]
    assert len(last["attention"][0]["bins"]) == 200 and max(last["attention"][0]["bins"]) == 1


def test_the_second_question_starts_from_the_state(server: Served, document: str) -> None:
    server.ask(QUESTION, document)
    again: dict[str, Any] = server.ask("Who sleeps until noon?", document).json()
    assert again["timings"]["cache_n"] > 700


def test_of_two_documents_of_one_name_the_evidence_says_which(server: Served, document: str) -> None:
    other = server.upload("Nothing at all.\n" + TEXT, "valley.txt")["id"]
    found = server.ask(QUESTION, document, other).json()
    texts = {id_: server.http.get(f"/v1/documents/{id_}/text").json()["text"] for id_ in (document, other)}
    assert {span["document"] for span in found["evidence"]} == {document, other}
    for span in found["evidence"]:
        assert texts[span["document"]][span["start"] : span["end"]] == span["text"]
    assert [bins["document"] for bins in found["attention"]] == [document, other]


def test_what_cannot_be_asked_gets_one_clear_error(server: Served, document: str, tmp_path: Path) -> None:
    missing = server.ask(QUESTION, "doc-nothing")
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "document_not_found"
    long = server.upload(TEXT * 4, "long.txt")["id"]
    too_long = server.ask(QUESTION, long)
    assert too_long.status_code == 400 and too_long.json()["error"]["code"] == "context_length_exceeded"
    assert "2048" in too_long.json()["error"]["message"]
    broken = server.upload(b"%PDF-1.4 broken", "broken.pdf")
    assert broken["status"] == "failed" and "broken.pdf" in broken["error"]
    assert server.ask(QUESTION, broken["id"]).json()["error"]["code"] == "document_unreadable"
    assert server.ask("", document).json()["error"]["param"] == "messages"
    assert server.ask(QUESTION, document, documnets=[]).json()["error"]["code"] == "unknown_parameter"
    assert server.ask(QUESTION, document).status_code == 200


def test_a_deleted_document_is_gone(server: Served) -> None:
    document = server.upload(TEXT[100:], "gone.txt")["id"]
    server.ask(QUESTION, document)
    server.when_kept(document)
    assert server.http.delete(f"/v1/documents/{document}").json()["deleted"]
    assert server.ask(QUESTION, document).status_code == 404
    assert not [path for path in server.house.settings.folder.rglob("*") if document in path.name]
