"""What a document's passages are ranked by: apart from the selection, and looking once at what asks nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_fixtures import load_narrow

from asl_llamacpp import Llama
from asl_llamacpp.documents.document import Document
from asl_llamacpp.engine.kinds import EACH_HEAD
from asl_llamacpp.prefill.report import PrefillReport
from asl_llamacpp.prefill.shown import N_SHOWN, shown_layers
from asl_llamacpp.selection.arrays import Floats
from asl_llamacpp.selection.contrast import SINKS

WINDOW, KERNEL = 16, 7
SHOWN: dict[int, list[int]] = {il: [] for il in range(14, 19)}
"""All heads of these layers."""
SIZES = f"select_k=96,window={WINDOW}"
TEXT = "The mill stands at the river. It was built in 1871 by the brothers Hall. Nobody lives there. " * 14
FIRST, SECOND = "Who built the mill?", "Who lives there?"


def report(llm: Llama) -> PrefillReport:
    assert llm.last_prefill is not None
    return llm.last_prefill


def rows_of(llm: Llama, document: Document, tokens: list[int]) -> tuple[dict[int, Floats], dict[int, Floats]]:
    """Each head's attention of the question and of the turn that asks nothing, by layer, [n_head, n - window]."""
    engine, cache = llm._engine, llm.pruned_cache
    assert engine is not None and cache is not None and cache.neutral is not None
    neutral, asked, other = cache.neutral(), {}, {}
    llm.reset()
    window = min(WINDOW, len(tokens) - len(document.tokens))
    engine.begin(tokens, window, 0)
    engine.contrast(len(document.tokens), neutral)
    for il in range(30):
        engine.run(il, il + 1, EACH_HEAD)
        asked[il] = engine.scores(il)[:, : len(tokens) - window].astype(np.float64)
        other[il] = engine.contrast_scores(il) * (window / len(neutral))
    engine.abort()
    return asked, other


def expected(asked: dict[int, Floats], other: dict[int, Floats], heads: dict[int, list[int]]) -> Floats:
    """The heads' sum less twice what the other has of them, over all these layers."""
    total = np.zeros(next(iter(asked.values())).shape[1])
    for il, rows in heads.items():
        scores = np.convolve(asked[il][rows].sum(axis=0), np.ones(KERNEL) / KERNEL, "same")
        less = np.convolve(other[il][rows].sum(axis=0), np.ones(KERNEL) / KERNEL, "same")
        n = min(len(scores), len(less))
        scores[SINKS:n] -= 2 * less[SINKS:n]
        total += scores
    return total


CASES: dict[str, tuple[dict[str, Any], dict[int, list[int]] | None]] = {
    "a later selection": ({"kv_policy": f"asl:layer=22,{SIZES}"}, SHOWN),
    "an earlier one": ({"kv_policy": f"asl:layer=12,{SIZES}"}, {12: []}),
    "one amid them": ({"kv_policy": f"asl:layer=16,{SIZES}"}, {14: [], 15: [], 16: []}),
    "the same layer, by the largest": (
        {"kv_policy": f"asl:layer=18,heads=max,contrast=true,{SIZES}"},
        SHOWN,
    ),
    "chosen heads": ({"kv_policy": f"asl:layer=14,heads=4.1+4.2+11.0+20.1,{SIZES}"}, {4: [1, 2], 11: [0]}),
    "chosen heads, the rule": (
        {"kv_policy": f"asl:tau=1e-9,l_max=14,heads=4.1+11.0,{SIZES}"},
        {4: [1], 11: [0]},
    ),
    "in a budget": ({"kv_policy": f"asl:layer=22,{SIZES}", "kv_budget": 96}, SHOWN),
    "two passes": ({"kv_policy": f"asl-2pass:layer=22,{SIZES}"}, SHOWN),
    "snapkv": ({"kv_policy": f"snapkv:budget=96,window={WINDOW}"}, SHOWN),
    "never pruned": ({"kv_policy": f"asl:tau=1e-9,l_max=none,{SIZES}"}, SHOWN),
}


@pytest.mark.parametrize(("settings", "heads"), CASES.values(), ids=CASES)
def test_passages_are_ranked_by_the_sum_that_a_question_adds(
    settings: dict[str, Any], heads: dict[int, list[int]]
) -> None:
    llm = load_narrow(**settings)
    document = llm.read(text=TEXT)
    document.ask(FIRST, max_tokens=1)
    got = report(llm)
    asked, other = rows_of(llm, document, document.prompt(FIRST))
    n_head = len(asked[0])
    want = expected(asked, other, {il: rows or list(range(n_head)) for il, rows in heads.items()})
    assert got.shown is not None and got.contrasted and got.shown_layer == max(heads)
    np.testing.assert_allclose(got.shown, want, atol=1e-4 * np.abs(want).max())
    llm.close()


@pytest.mark.parametrize("more", ["layer=22", "layer=14,contrast=true", "heads=4.1+11.0,layer=14,contrast=true"])
def test_what_any_question_looks_at_is_looked_at_once(
    more: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for the second question either, nor after the document was saved and opened."""
    seen: list[int] = []
    llm = load_narrow(kv_policy=f"asl:{more},{SIZES}")

    def counted(llm: Llama) -> None:
        assert llm._engine is not None
        contrast = llm._engine.contrast
        monkeypatch.setattr(llm._engine, "contrast", lambda *given: (seen.append(1), contrast(*given))[1])

    counted(llm)
    document = llm.read(text=TEXT)
    first = document.ask(FIRST, max_tokens=1).report
    document.ask(SECOND, max_tokens=1)
    again = document.ask(FIRST, max_tokens=1).report
    assert len(seen) == 1 and again.contrasted
    np.testing.assert_allclose(again.shown, first.shown, atol=0.15 * np.abs(first.shown).max())  # type: ignore[arg-type]
    document.save(tmp_path / "mill.asldoc")
    llm.close()
    other = load_narrow(kv_policy=f"asl:{more},{SIZES}")
    counted(other)
    opened = other.open_document(tmp_path / "mill.asldoc").ask(FIRST, max_tokens=1).report
    assert len(seen) == 1 and opened.contrasted
    np.testing.assert_array_equal(opened.shown, again.shown)
    other.close()
    changed = load_narrow(kv_policy=f"asl:{more},kernel=5,{SIZES}")  # other scores: it runs again
    counted(changed)
    assert changed.open_document(tmp_path / "mill.asldoc").ask(FIRST, max_tokens=1).report.contrasted
    assert len(seen) == 2
    changed.close()


@pytest.mark.parametrize("n_layer", [1, 2, 10, 18, 30, 32, 48, 80])
def test_layers_of_every_depth(n_layer: int) -> None:
    """A few, about half way, whatever the model's depth: a graph has room for the scores of eight."""
    layers = shown_layers(n_layer)
    assert 1 <= len(layers) <= N_SHOWN and sorted(set(layers)) == list(layers)
    assert layers[0] >= 0 and layers[-1] == min(round(0.6 * n_layer), n_layer - 1)
