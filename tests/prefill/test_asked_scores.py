"""What a prefill has the device make of the window's scores: no more comes down than the policy needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from llama_fixtures import load_narrow, logits, prompt

from asl_llamacpp.engine.kinds import Reduction

N, SIZES = 300, "select_k=96,window=16"
EACH, SUM, MAX = Reduction(), Reduction("sum"), Reduction("max", 7)

CASES: dict[str, tuple[dict[str, Any], dict[int, Reduction]]] = {
    "asl": ({"kv_policy": f"asl:tau=1e-9,{SIZES}"}, dict.fromkeys(range(2, 23), SUM)),
    "at a layer": ({"kv_policy": f"asl:layer=12,{SIZES}"}, {12: SUM}),
    "by the largest": ({"kv_policy": f"asl:layer=12,heads=max,{SIZES}"}, {12: MAX}),
    "of three layers": ({"kv_policy": f"asl:layer=12,score_layers=3,{SIZES}"}, dict.fromkeys([10, 11, 12], SUM)),
    "by chosen heads": (
        {"kv_policy": f"asl:layer=12,heads=4.1+4.2+11.0,{SIZES}"},
        {4: Reduction("max", 7, (1, 2)), 11: Reduction("max", 7, (0,))},
    ),
    "by the rule and chosen heads": (
        {"kv_policy": f"asl:tau=1e-9,heads=1.1+11.0,l_max=12,{SIZES}"},
        {1: Reduction("max", 7, (1,)), **dict.fromkeys(range(2, 13), SUM), 11: EACH},
    ),
    "fastkv": ({"kv_policy": f"fastkv:layer=9,{SIZES}"}, {9: SUM}),
    "gemfilter": ({"kv_policy": "gemfilter:layer=9,select_k=96"}, {9: Reduction("sum", products=True)}),
    "snapkv": ({"kv_policy": "snapkv:budget=64,window=16"}, dict.fromkeys(range(30), EACH)),
    "in a budget": ({"kv_policy": f"fastkv:layer=9,{SIZES}", "kv_budget": 96}, {9: SUM}),
    "heads in a budget": (
        {"kv_policy": f"fastkv:layer=9,{SIZES},keep=heads", "kv_budget": 96},
        dict.fromkeys(range(10), EACH),
    ),
}


@pytest.mark.parametrize(("settings", "want"), CASES.values(), ids=CASES)
def test_what_is_asked_for(
    settings: dict[str, Any], want: dict[int, Reduction], monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = load_narrow(**settings)
    asked: dict[int, Reduction] = {}
    assert llm._engine is not None
    run = llm._engine.run

    def seen(il_begin: int, il_end: int, scores: Mapping[int, Reduction]) -> None:
        asked.update(scores)
        run(il_begin, il_end, scores)

    monkeypatch.setattr(llm._engine, "run", seen)
    llm.eval(prompt(N))
    assert asked == want


def test_a_budget_does_not_change_what_is_selected() -> None:
    """Heads are added up on the device without one, here with it: in the same order."""
    reports = []
    for budget in (None, 96):
        llm = load_narrow(kv_policy=f"asl:layer=0,{SIZES}", kv_budget=budget)
        llm.eval(prompt(N))
        assert np.isfinite(logits(llm)).all()
        reports.append(llm.last_prefill)
    assert reports[0] is not None and reports[1] is not None
    np.testing.assert_array_equal(reports[0].selected, reports[1].selected)
    np.testing.assert_array_equal(reports[0].scores, reports[1].scores)


ENDS = {1: [*range(10, 24), 30], 2: [10, 12, 14, 16, 18, 20, 22, 23, 30], 4: [10, 14, 18, 22, 23, 30]}


@pytest.mark.parametrize(("every", "ends"), ENDS.items())
def test_layers_between_two_decisions_run_together(
    every: int, ends: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass over the prompt each: the rule is shown the same layers, and ends where it did."""
    llm = load_narrow(kv_policy=f"asl:tau=1e-9,decide_every={every},{SIZES}")
    found, asked = [], []
    assert llm._engine is not None
    run = llm._engine.run

    def seen(il_begin: int, il_end: int, scores: Mapping[int, Reduction]) -> None:
        found.append(il_end)
        asked.extend(scores)
        run(il_begin, il_end, scores)

    monkeypatch.setattr(llm._engine, "run", seen)
    llm.eval(prompt(N))
    assert llm.last_prefill is not None
    assert found == ends and asked == list(range(2, 23))
    assert llm.last_prefill.selection_layer == 22 and llm.last_prefill.forced
    assert f"decide_every={every}" in llm.last_prefill.policy or every == 1
