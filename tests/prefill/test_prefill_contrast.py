"""A turn that asks nothing beside a prompt: what it changes if the policy says so, and that else nothing changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from llama_fixtures import greedy, load_narrow, logits, prompt

from asl_llamacpp import Llama
from asl_llamacpp.engine.kinds import Reduction
from asl_llamacpp.prefill.report import PrefillReport
from asl_llamacpp.selection.contrast import less, neutral_scores
from asl_llamacpp.selection.ranks import selected_positions
from asl_llamacpp.selection.scores import token_scores

N, WINDOW, KERNEL, LAYER, SELECT_K = 300, 16, 7, 12, 96
PLAIN = f"asl:layer={LAYER},select_k={SELECT_K},window={WINDOW}"
TEXT = "The mill stands at the river. It was built in 1871 by the brothers Hall. Nobody lives there. " * 14


def report(llm: Llama) -> PrefillReport:
    assert llm.last_prefill is not None
    return llm.last_prefill


def test_the_set_is_what_exceeds_the_neutral_turn() -> None:
    """The same set from two prefills: of the prompt, and of the prompt with the neutral turn at its end."""
    llm = load_narrow(kv_policy=f"{PLAIN},contrast=true")
    tokens = prompt(N)
    llm.eval(tokens)
    got = report(llm)
    assert llm.pruned_cache is not None and llm.pruned_cache.neutral is not None and llm._engine is not None
    neutral, engine = list(llm.pruned_cache.neutral()), llm._engine
    rows = []
    for end, window in ((tokens[-WINDOW:], WINDOW), (neutral, len(neutral))):
        llm.reset()
        engine.begin([*tokens[:-WINDOW], *end], window, 0)
        engine.run(0, LAYER + 1, {LAYER: Reduction("sum")})
        rows.append(engine.scores(LAYER)[:, : N - WINDOW])
        engine.abort()
    scores = token_scores(np.pad(rows[0], ((0, 0), (0, WINDOW))), WINDOW, KERNEL)
    added = less(scores, neutral_scores(rows[1], KERNEL, "sum", WINDOW / len(neutral)))
    assert got.scores is not None and got.selected is not None
    # fewer than 64 rows take another attention kernel on a CPU
    np.testing.assert_allclose(got.scores, added, atol=0.05 * scores.max())
    expected = set(selected_positions(added, SELECT_K - WINDOW, WINDOW).tolist())
    assert len(expected & set(got.selected.tolist())) >= 0.9 * SELECT_K
    plain = load_narrow(kv_policy=PLAIN)
    plain.eval(tokens)
    assert report(plain).selected.tolist() != got.selected.tolist()  # type: ignore[union-attr]
    assert report(plain).scores is not None and (report(plain).scores >= 0).all()  # type: ignore[operator]


CASES: dict[str, dict[str, Any]] = {
    "asl": {"kv_policy": PLAIN},
    "by the largest": {"kv_policy": f"{PLAIN},heads=max,score_layers=2"},
    "in a budget": {"kv_policy": PLAIN, "kv_budget": 64},
    "two passes": {"kv_policy": f"asl-2pass:layer={LAYER},select_k={SELECT_K},window={WINDOW}"},
    "never pruned": {"kv_policy": "asl:tau=1e-9,l_max=none,select_k=64,window=16"},
}


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_passages_alone_change_nothing(settings: dict[str, Any]) -> None:
    """The questions to a document run it for what is shown; answers, sets and logits are those without it."""
    told = []
    for with_contrast in (True, False):
        llm = load_narrow(**settings)
        assert llm.pruned_cache is not None
        if not with_contrast:
            llm.pruned_cache.neutral = None
        document, answers = llm.read(text=TEXT), []
        for question in ("Who built the mill?", "Who lives there?"):
            answer = document.ask(question, max_tokens=4)
            selected = report(llm).selected
            answers.append((answer.text, logits(llm).tobytes(), None if selected is None else selected.tolist()))
            assert report(llm).contrasted == with_contrast and report(llm).shown is not None
        told.append(answers)
        llm.close()
    assert told[0] == told[1]


def test_no_room_behind_the_prompt_is_told() -> None:
    llm = load_narrow(kv_policy=f"{PLAIN},contrast=true", n_ctx=512)
    llm.eval((2 * prompt(300))[: 512 - 4])
    assert "without the contrast, for which the context has no room" in report(llm).reason
    assert (report(llm).scores >= 0).all()  # type: ignore[operator]
    llm.reset()
    llm.eval(prompt(300))
    assert (report(llm).scores < 0).any() and "without" not in report(llm).reason  # type: ignore[operator]


def test_a_second_question_is_contrasted_as_the_first() -> None:
    """Behind the document, whatever is known of it."""
    rows = []
    for first in ("Who lives there?", None):
        llm = load_narrow(kv_policy=f"{PLAIN},contrast=true", document_min=64)
        document = llm.read(text=TEXT)
        if first:
            document.ask(first, max_tokens=2)
        document.ask("Who built the mill?", max_tokens=2)
        assert (report(llm).reused > 0) == (first is not None)
        added = report(llm).scores
        assert added is not None
        rows.append(added)
        greedy(llm, prompt(20), 1)
        llm.close()
    np.testing.assert_allclose(rows[0], rows[1], atol=0.02 * np.abs(rows[0]).max())
