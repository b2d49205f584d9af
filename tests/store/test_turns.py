"""Questions and answers behind a completed document: what was evaluated is not evaluated again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from llama_fixtures import PRUNE, greedy, load_narrow, logits, prompt

from asl_llamacpp import Document, Llama, Turn
from asl_llamacpp.store.entry import common_prefix

TEXT = "The river runs past the old mill, and nobody expects rain in June. " * 22 + "The pass key is 48213."
FIRST, LATER = prompt(30, start=100), prompt(70, start=150)
"""Questions in tokens; with 64 and more llama.cpp takes the kernel that we take for any."""


def load(**settings: Any) -> Llama:
    return load_narrow(**{"kv_policy": PRUNE, "n_ctx": 768, **settings})


def completed(llm: Llama) -> Document:
    document = llm.read(text=TEXT, name="river")
    document.complete()
    return document


def test_a_turn_is_not_run_again() -> None:
    """As with llama.cpp's prefix cache, bit for bit."""
    llm = load()
    tokens = completed(llm).tokens.tolist()
    stock = load(kv_policy="full", flash_attn=True, n_ubatch=1024, n_batch=1024)
    answer = greedy(llm, tokens + FIRST, 6)
    assert greedy(stock, tokens + FIRST, 6) == answer
    conversation = tokens + FIRST + answer + LATER
    n_known = len(conversation) - len(LATER) - 1  # the answer's last token was not evaluated
    seen: list[int] = []
    llm.on_progress = lambda progress: seen.append(progress.n_tokens)
    greedy(llm, conversation, 1)
    greedy(stock, conversation, 1)
    report = llm.last_prefill
    assert report is not None and (report.reused, report.reused_layers) == (n_known, 30)
    assert set(seen) == {len(LATER) + 1} and report.selected is None
    assert logits(llm).tobytes() == logits(stock).tobytes()
    seen.clear()
    greedy(llm, tokens + FIRST + answer[:3] + LATER, 1)  # the answer was edited
    greedy(stock, tokens + FIRST + answer[:3] + LATER, 1)
    assert set(seen) == {len(LATER)}
    assert logits(llm).tobytes() == logits(stock).tobytes()


def test_another_question_is_answered_as_if_asked_alone() -> None:
    llm, alone = load(), load()
    tokens = completed(llm).tokens.tolist()
    completed(alone)
    greedy(alone, tokens + LATER, 1)
    greedy(llm, tokens + FIRST, 4)
    greedy(llm, tokens + LATER, 1)
    assert logits(llm).tobytes() == logits(alone).tobytes()
    greedy(llm, tokens + LATER[:40] + FIRST, 1)  # begins alike
    assert llm.last_prefill is not None and llm.last_prefill.reused == len(tokens) + 40
    greedy(alone, tokens + FIRST, 1)
    greedy(alone, tokens + LATER[:40] + FIRST, 1)
    assert logits(llm).tobytes() == logits(alone).tobytes()


def test_what_was_forgotten_is_run_again() -> None:
    llm = load()
    document = completed(llm)
    tokens = document.tokens.tolist()
    conversation = tokens + FIRST + greedy(llm, tokens + FIRST, 6) + LATER
    want = None

    def cut() -> None:
        llm._ctx.kv_cache_seq_rm(-1, len(tokens) + 5, -1)

    for between in (llm.reset, lambda: greedy(llm, LATER, 2), cut):
        greedy(llm, tokens + FIRST, 6)
        between()
        greedy(llm, conversation, 1)
        assert llm.last_prefill is not None and llm.last_prefill.reused == len(tokens)
        want = logits(llm) if want is None else want
        np.testing.assert_array_equal(logits(llm), want)


@pytest.mark.parametrize("settings", [{}, {"kv_budget": "1GiB"}], ids=("asl", "budget"))
def test_history_of_a_document(settings: dict[str, Any]) -> None:
    llm = load(**settings)
    document = completed(llm)
    first = document.ask("What is the pass key of the vault?", max_tokens=8)
    turn = Turn(first.question, first.text)
    later = document.ask("And who wrote it down?", history=[turn], max_tokens=4)
    asked = document.prompt(first.question)
    n_same = common_prefix(asked, document.prompt("?", [turn]))
    assert later.report.reused >= min(n_same, later.report.n_prompt - 16) > len(document.tokens)
    assert later.evidence


def test_a_document_that_was_not_completed_runs_it_again() -> None:
    llm = load()
    tokens = llm.read(text=TEXT).tokens.tolist()
    answer = greedy(llm, tokens + FIRST, 6)
    greedy(llm, tokens + FIRST + answer + LATER, 1)
    assert llm.last_prefill is not None and llm.last_prefill.reused == len(tokens)


def test_tokens_that_nobody_evaluated_are_refused() -> None:
    llm = load()
    tokens = completed(llm).tokens.tolist()
    engine = llm._engine
    assert engine is not None
    with pytest.raises(ValueError, match="run through all layers"):
        engine.hold_more([5])  # it was put aside
    greedy(llm, tokens + FIRST, 3)
    for bad, message in (([5] * 40, "does not hold"), ([], "must be tokens"), ([10**6], "vocabulary")):
        with pytest.raises(ValueError, match=message):
            engine.hold_more(bad)
    engine.hold_more(FIRST)
    assert engine.info().n_held == len(tokens) + len(FIRST)
    pruned = load()
    greedy(pruned, pruned.read(text=TEXT).tokens.tolist() + FIRST, 3)
    assert pruned._engine is not None
    with pytest.raises(ValueError, match="run through all layers"):
        pruned._engine.hold_more(FIRST)
