"""The same prompt gets the same logits, bit for bit: fresh, repeated, behind a known document, and reopened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_fixtures import greedy, load_narrow, logits, prompt, prompt_logits

from asl_llamacpp import Llama
from asl_llamacpp.policies.base import POLICIES

OPTIONS = {
    "asl": "layer=14,select_k=64,window=16",
    "fastkv": "layer=12,select_k=64,window=16",
    "snapkv": "budget=64,window=16",
    "gemfilter": "layer=12,select_k=64",
    "asl-2pass": "layer=14,select_k=64,window=16",
    "pyramidinfer": "layer=14,select_k=64,window=16",
}
MORE = ["asl:layer=14,select_k=64,window=16,keep=selected", "asl:layer=14,select_k=64,window=16,keep=heads"]
PRUNING = [*(f"{name}:{options}" for name, options in OPTIONS.items()), *MORE]
DOCUMENT = prompt(300)
TAILS = [prompt(n, start=250) for n in (3, 17, 40)]


def load(kv_policy: str, **settings: Any) -> Llama:
    return load_narrow(kv_policy=kv_policy, **{"n_ubatch": 160, "document_min": 64, **settings})


def test_every_policy_that_prunes_is_here() -> None:
    built_in = {name for name, policy in POLICIES.items() if policy.__module__.startswith("asl_llamacpp.")}
    assert {name for name in built_in if POLICIES[name].prunes} == set(OPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("kv_policy", PRUNING)
def test_fresh_repeated_behind_a_document_and_reopened(kv_policy: str) -> None:
    """Where the last ubatch would have a token or two (322 tokens), too."""
    llm, fresh = load(kv_policy), load(kv_policy, document_min=None)
    for tail in (TAILS[1], TAILS[0], TAILS[2], [*TAILS[1], *TAILS[0], *TAILS[0][:2]]):
        tokens = DOCUMENT + tail
        fresh.reset()
        want = prompt_logits(fresh, tokens)
        answer = greedy(fresh, tokens, 6)
        assert prompt_logits(llm, tokens).tobytes() == want.tobytes()
        report = llm.last_prefill
        assert greedy(llm, tokens, 6) == answer
        assert prompt_logits(llm, tokens).tobytes() == want.tobytes()  # after an answer, which is gone
        assert llm.last_prefill is not None and llm.last_prefill.reused == len(tokens)
        assert llm.last_prefill.selected is report.selected  # type: ignore[union-attr]
    state = llm.save_state()
    greedy(llm, prompt(90, start=100), 2)
    llm.load_state(state)
    assert prompt_logits(llm, tokens).tobytes() == want.tobytes()
    assert greedy(llm, tokens, 6) == answer
    other = load(kv_policy)  # which has decoded nothing
    other.load_state(state)
    assert prompt_logits(other, tokens).tobytes() == want.tobytes()
    assert greedy(other, tokens, 6) == answer


@pytest.mark.slow
@pytest.mark.parametrize("kv_policy", PRUNING[:4])
def test_questions_to_a_document_that_was_put_away_or_saved(kv_policy: str, tmp_path: Path) -> None:
    text = "The river runs past the old mill, and nobody expects rain in June. " * 14
    questions = ("Does it rain?", "What runs past the old mill, and who expects rain in June, if anybody does?")
    llm = load(kv_policy, n_ctx=768)
    document = llm.read(text=text)
    wanted = []
    for question in questions:
        tokens = document.prompt(question)
        window = min(16, len(tokens) - len(document.tokens))  # a short question's window has no more than its tokens
        fresh = load(kv_policy.replace("window=16", f"window={window}"), n_ctx=768, document_min=None)
        wanted.append(prompt_logits(fresh, tokens))
        fresh.close()

    def check() -> None:
        for question, want in zip(questions, wanted, strict=True):
            document.ask(question, max_tokens=1)
            assert logits(llm).tobytes() == want.tobytes()

    check()
    check()
    llm("Something else in between", max_tokens=1)
    check()
    document.save(tmp_path / "river.asldoc")
    document.close()
    document = llm.open_document(tmp_path / "river.asldoc")
    check()


def test_a_repeated_prompt_runs_nothing_and_says_so() -> None:
    llm = load(PRUNING[0])
    answer = greedy(llm, DOCUMENT, 5)
    evaluated: list[int] = []
    decode = llm._ctx.decode
    llm._ctx.decode = lambda batch: (evaluated.append(batch.n_tokens()), decode(batch))  # type: ignore[method-assign]
    llm.on_progress = lambda _: evaluated.append(-1)
    assert greedy(llm, DOCUMENT, 5) == answer
    assert evaluated == [1] * 4
    report = llm.last_prefill
    assert report is not None and (report.reused, report.reused_layers) == (300, 30)
    assert list(report.seconds) == ["total"] and report.seconds["total"] < 1
    assert "300 of them known in 30 of 30 layers" in str(report)


def test_a_prompt_that_is_not_pruned_is_repeated_alike() -> None:
    llm = load(PRUNING[0])
    short = DOCUMENT[:40]
    want = prompt_logits(llm, short)
    answer = greedy(llm, short, 4)
    assert prompt_logits(llm, short).tobytes() == want.tobytes() and greedy(llm, short, 4) == answer


def test_another_prompt_in_between_or_a_reset_costs_it() -> None:
    llm = load(PRUNING[0], document_min=None)
    want = prompt_logits(llm, DOCUMENT)
    for between in (lambda: greedy(llm, TAILS[2], 2), llm.reset, lambda: llm.eval(TAILS[0])):
        between()
        assert np.array_equal(prompt_logits(llm, DOCUMENT), want)
