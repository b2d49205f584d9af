"""Documents with quantized K and V: the same bits wherever their state was, and whatever was asked before."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from llama_fixtures import PRUNE, greedy, logits
from llama_fixtures import load_narrow as load
from test_document_stores import DOCUMENTS, QUESTIONS

from asl_llamacpp import Llama

QUANTIZED = {"type_k": 8, "type_v": 8, "kv_policy": PRUNE, "document_min": 256}

COLOUR = "Which colour has the door of the mill that stands at the end of the road?"

STORES: dict[str, dict[str, Any]] = {
    "ram": {},
    "device": {"document_store": "device"},
    "disk": {"document_store": "disk"},
}


def asked(llm: Llama, document: int, question: int) -> tuple[list[int], bytes]:
    answer = greedy(llm, DOCUMENTS[document] + QUESTIONS[question], 4)
    return answer, logits(llm).tobytes()


@pytest.fixture(scope="module")
def asked_at_once() -> dict[tuple[int, int], tuple[list[int], bytes]]:
    """Each question right after its document's first one."""
    found = {}
    for document in range(2):
        for question in (1, 2):
            with closing(load(**QUANTIZED)) as llm:
                asked(llm, document, 0)
                found[document, question] = asked(llm, document, question)
    return found


@pytest.mark.parametrize("store", STORES)
def test_questions_in_turn(store: str, asked_at_once: dict[tuple[int, int], tuple[list[int], bytes]]) -> None:
    with closing(load(**QUANTIZED, **STORES[store])) as llm:
        for document in range(2):
            asked(llm, document, 0)
        for question in (1, 2, 1):
            for document in range(2):
                assert asked(llm, document, question) == asked_at_once[document, question]
                assert llm.last_prefill is not None and llm.last_prefill.reused >= len(DOCUMENTS[document])


@pytest.mark.parametrize("store", STORES)
def test_a_file(store: str, tmp_path: Path) -> None:
    text = "The pass key of the vault is 48213, and the door of the mill is blue. " * 14
    settings = {**QUANTIZED, "n_ctx": 1024, **STORES[store]}
    with closing(load(**settings)) as llm:
        document = llm.read(text=text)
        document.ask("What is the pass key of the vault?", max_tokens=1)
        document.save(tmp_path / "keys.asldoc")
        want = document.ask(COLOUR, max_tokens=4).text, logits(llm).tobytes()
    with closing(load(**settings)) as llm:
        document = llm.open_document(tmp_path / "keys.asldoc")
        answer = document.ask(COLOUR, max_tokens=4)
        assert answer.report.reused == len(document.tokens)
        assert (answer.text, logits(llm).tobytes()) == want


def test_a_budget_and_a_state() -> None:
    """Compressed layers are quantized ones; a state brings them back, and decoding goes on the same."""
    policy = f"{QUANTIZED['kv_policy']},keep=heads"
    settings = {**QUANTIZED, "kv_policy": policy, "kv_budget": 128, "document_min": None}
    with closing(load(**settings)) as llm, closing(load(**settings)) as other:
        asked(llm, 0, 0)
        state = llm.save_state()
        other.load_state(state)
        ends = []
        for each in (llm, other):
            each.eval(QUESTIONS[3][:5])
            ends.append(logits(each).tobytes())
        assert ends[0] == ends[1]
        report = llm.last_prefill
        assert report is not None and report.keep == 128
        assert report.peak_kv_bytes > report.kv_bytes
