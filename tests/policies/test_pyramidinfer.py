"""PyramidInfer: each layer holds what the one before it chose of the tokens that were left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from llama_fixtures import cells, greedy, load_narrow, logits, prompt

from asl_llamacpp.engine.kinds import EACH_HEAD
from asl_llamacpp.policies import PyramidInfer, parse_policy
from asl_llamacpp.policies.answers import Prompt

N, WINDOW, FIRST, SELECT_K = 300, 16, 8, 64
SPEC = f"pyramidinfer:layer={FIRST},select_k={SELECT_K},window={WINDOW}"
TEXT = "The mill stands at the river. It was built in 1871 by the brothers Hall. Nobody lives there. " * 14


def test_the_same_share_goes_on_each_time() -> None:
    counts = PyramidInfer(select_k=512).counts(Prompt(8192, 32, range(32)))
    assert list(counts) == list(range(8, 31)) and counts[30] == 512
    shares = np.diff(np.log([8192, *counts.values()]))
    np.testing.assert_allclose(shares, np.log(512 / 8192) / 23, atol=2e-3)
    every = PyramidInfer(select_k=512, every=3).counts(Prompt(8192, 32, range(0, 32, 2)))
    assert list(every) == [8, 14, 20, 26] and every[26] == 512
    assert PyramidInfer(select_k=512).counts(Prompt(512, 32, range(32))) == {}
    assert PyramidInfer(select_k=512).counts(Prompt(8192, 32, range(4))) == {}
    worst = PyramidInfer(layer=1, select_k=40).worst_case(Prompt(90, 4, range(4)))
    assert (worst.latest, worst.passes[0].tokens) == (1, (90, 90, 60, 40))


def test_a_prefill_is_that_of_keep_after_keep() -> None:
    """The same logits, bit for bit, from the engine told by hand."""
    llm, tokens = load_narrow(kv_policy=SPEC), prompt(N)
    llm.eval(tokens)
    got, held, report = logits(llm).tobytes(), cells(llm), llm.last_prefill
    engine = llm._engine
    assert report is not None and report.selected is not None and engine is not None
    llm.reset()
    engine.begin(tokens, WINDOW, 256)
    engine.run(0, FIRST)
    n_left, left, expected = N, np.arange(N), [N] * FIRST
    steps = 30 - 1 - FIRST
    for i, il in enumerate(range(FIRST, 29), start=1):
        engine.run(il, il + 1, EACH_HEAD)
        expected.append(n_left)
        n_left = max(round(N * (SELECT_K / N) ** (i / steps)), SELECT_K)
        scores = engine.scores(il).astype(np.float64).sum(axis=0)[:-WINDOW]
        best = np.sort(np.argsort(-scores, kind="stable")[: n_left - WINDOW])
        left = np.concatenate([left[best], left[-WINDOW:]])
        engine.keep(left)
    engine.run(29, 30)
    engine.end()
    assert held == [*expected, SELECT_K] == report.cells
    np.testing.assert_array_equal(report.selected, left)
    assert got == logits(llm).tobytes()
    assert (report.selection_layer, report.n_selected) == (
        FIRST,
        SELECT_K,
    ) and "narrowed from 300 to 64" in report.reason


@pytest.mark.parametrize("settings", [{}, {"kv_budget": 96}, {"kv_budget": "12MiB"}], ids=str)
def test_within_a_budget_it_decodes(settings: dict[str, Any]) -> None:
    llm = load_narrow(kv_policy=SPEC, **settings)
    assert len(greedy(llm, prompt(N), 5)) == 5 and np.isfinite(logits(llm)).all()
    assert llm.last_prefill is not None
    if settings.get("kv_budget") == 96:
        assert max(llm.last_prefill.cells) == 96
    if "kv_budget" in settings and llm.last_prefill.limit_bytes is not None:
        assert llm.last_prefill.kv_bytes <= llm.last_prefill.limit_bytes


@pytest.mark.parametrize("store", ["ram", "device"])
def test_questions_to_a_document(store: str) -> None:
    llm = load_narrow(kv_policy=SPEC, document_store=store)
    document = llm.read(text=TEXT)
    first = document.ask("Who built the mill?", max_tokens=2)
    again = document.ask("Who lives there?", max_tokens=2)
    assert again.report.reused == len(document.tokens) and again.report.reused_layers == FIRST + 1
    assert first.report.n_selected == again.report.n_selected == SELECT_K and again.evidence
    document.complete()
    assert document.ask("Who lives there?", max_tokens=2).report.selected is None


def test_text_and_bad_values() -> None:
    policy = parse_policy("pyramidinfer:select_k=512,every=2")
    assert policy == PyramidInfer(select_k=512, every=2) and parse_policy(str(policy)) == policy
    assert policy.resolve(30).latest_layer == 7
    for bad, told in {"every=0": "every must be at least 1", "layer=x": "layer", "select_k=9": "must exceed"}.items():
        with pytest.raises(ValueError, match=told):
            parse_policy(f"pyramidinfer:{bad}")
    with pytest.raises(ValueError, match="layer=30: lower it"):
        load_narrow(kv_policy="pyramidinfer:layer=30")
