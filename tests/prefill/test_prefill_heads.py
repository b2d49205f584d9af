"""Chosen heads in a prefill: the set is that of the same rows read one by one, whatever else the policy does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from llama_fixtures import load_narrow, logits, prompt

from asl_llamacpp import Llama
from asl_llamacpp.prefill.report import PrefillReport
from asl_llamacpp.selection.arrays import Floats
from asl_llamacpp.selection.ranks import selected_positions

N, WINDOW, KERNEL, LAYER, SELECT_K = 300, 16, 7, 12, 96
HEADS = ((4, 1), (4, 2), (11, 0))
CHOSEN = f"layer={LAYER},select_k={SELECT_K},window={WINDOW},heads=4.1+4.2+11.0"
TEXT = "The mill stands at the river. It was built in 1871 by the brothers Hall. Nobody lives there. " * 14


def report(llm: Llama) -> PrefillReport:
    assert llm.last_prefill is not None
    return llm.last_prefill


def averaged(row: Floats) -> Floats:
    """The kernel's mean around each past token, zeros at the borders."""
    return np.convolve(row[: N - WINDOW], np.ones(KERNEL, dtype=np.float32) / KERNEL, "same")


def expected() -> Floats:
    """Each token's maximum over the heads, from a run that gives every head's row."""
    llm = load_narrow(kv_policy=f"asl:{CHOSEN}")
    engine, rows = llm._engine, {}
    assert engine is not None
    engine.begin(prompt(N), WINDOW, 0)
    for il in range(LAYER + 1):
        engine.run(il, il + 1, True)
        rows[il] = engine.scores(il)
    llm.close()
    best: Floats = np.max([averaged(rows[il][head]) for il, head in HEADS], axis=0)
    return best


CASES = {
    "asl": {"kv_policy": f"asl:{CHOSEN}"},
    "fastkv": {"kv_policy": f"fastkv:{CHOSEN}"},
    "by the rule": {"kv_policy": f"asl:tau=1e-9,l_max={LAYER},{CHOSEN.partition(',')[2]}"},
    "two passes": {"kv_policy": f"asl-2pass:{CHOSEN}"},
    "selected cells alone": {"kv_policy": f"asl:keep=selected,{CHOSEN}"},
    "heads' own cells": {"kv_policy": f"fastkv:keep=heads,{CHOSEN}"},
    "in a budget": {"kv_policy": f"asl:{CHOSEN}", "kv_budget": 96},
}


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_the_set_is_that_of_the_chosen_rows(settings: dict[str, Any]) -> None:
    best = expected()
    llm = load_narrow(**settings)
    llm.eval(prompt(N))
    scores = report(llm).scores
    assert scores is not None
    np.testing.assert_allclose(scores, best, rtol=1e-6)
    np.testing.assert_array_equal(report(llm).selected, selected_positions(scores, SELECT_K - WINDOW, WINDOW))
    assert report(llm).selection_layer == LAYER and np.isfinite(logits(llm)).all()
    llm.close()


@pytest.mark.parametrize("more", ["", ",contrast=true", ",units=sentences,contrast=true", ",keep=selected"])
def test_a_second_question_is_served_as_the_first(more: str) -> None:
    """Whatever is known of the document: in the context, or on the host."""
    rows = []
    for known in (False, True):
        llm = load_narrow(kv_policy=f"asl:{CHOSEN}{more}")
        document = llm.read(text=TEXT)
        if known:
            document.ask("Who lives there?", max_tokens=2)
        answer = document.ask("Who built the mill?", max_tokens=2)
        assert (report(llm).reused > 0) == known and answer.evidence
        scores = report(llm).scores
        assert scores is not None and report(llm).n_selected == SELECT_K
        rows.append(scores)
        llm.close()
    np.testing.assert_allclose(rows[0], rows[1], atol=0.08 * np.abs(rows[0]).max())


def test_heads_that_the_model_has_not() -> None:
    with pytest.raises(ValueError, match="layer 4 has the heads 0 to"):
        load_narrow(kv_policy="asl:heads=4.99")
    with pytest.raises(ValueError, match="heads: layer=30: lower it"):
        load_narrow(kv_policy="asl:heads=30.0")
