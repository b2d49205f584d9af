"""Answers from one recorded prefill equal those of an ordinary `Llama` with each policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from llama_fixtures import cells, greedy, logits, prompt_logits
from llama_fixtures import load as load_real
from llama_fixtures import load_narrow as load

from asl_llamacpp import Llama
from asl_llamacpp.evals.shared import SharedLlama
from asl_llamacpp.evals.signals import COMBINED, combined
from asl_llamacpp.policies import ASL, parse_policy
from asl_llamacpp.selection.ranks import selected_positions
from asl_llamacpp.selection.unit_scores import selected_units
from asl_llamacpp.selection.units import unit_starts

TAIL = 32
N = 300
PROMPTS = [recorded.tokens.tolist()[-N:] for recorded in oracle.prompts()[:3]]
RULE = "asl:l_min=10,l_obs=4,tau=0.6,select_k=128"

WAYS: dict[str, tuple[str, int | None]] = {
    "full": ("full", None),
    "the rule": (RULE, None),
    "forced": ("asl:tau=1e-9,select_k=128", None),
    "never": ("asl:tau=1e-9,l_max=none,select_k=128", None),
    "fits": ("asl:select_k=1000", None),
    "what the paper has not": (f"{RULE},reference=peak,heads=max,score_layers=4", None),
    "several layers at one": ("asl:layer=14,heads=max,score_layers=4,select_k=128", 140),
    "small window": ("asl:layer=20,window=16,select_k=128", None),
    "budget": (RULE, 100),
    "fastkv": ("fastkv:select_k=128", None),
    "fastkv+budget": ("fastkv:select_k=128", 128),
    "snapkv": ("snapkv:budget=128", None),
    "gemfilter": ("gemfilter:select_k=128", None),
    "sentences": (f"{RULE},units=sentences", None),
    "fastkv, sentences": ("fastkv:layer=20,select_k=128,heads=max,score_layers=2,units=sentences", None),
    "gemfilter, sentences": ("gemfilter:select_k=128,units=sentences", None),
    "two passes, sentences": ("asl-2pass:select_k=128,tau=0.6,units=sentences", None),
    "two passes": ("asl-2pass:select_k=128,tau=0.6", None),
}


REAL = ("full", "the rule")
"""Ways for which the real model is taken: one rounds differently, in the other the rule must fire."""


def recorded(llm: Llama) -> Iterator[SharedLlama]:
    shared = SharedLlama(llm)
    shared.record(PROMPTS[0], TAIL)
    yield shared
    llm.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[SharedLlama]:
    yield from recorded(load(n_ubatch=N - TAIL))


@pytest.fixture(scope="module")
def real() -> Iterator[SharedLlama]:
    yield from recorded(load_real(n_ubatch=N - TAIL))


def both(shared: SharedLlama, way: str, tokens: list[int], **settings: Any) -> tuple[Any, Any, float]:
    """What the shared and the ordinary run leave, and how far the logits after 4 greedy tokens differ."""
    policy, budget = parse_policy(WAYS[way][0]), WAYS[way][1]
    shared.set_policy(policy, budget)
    model = Path(shared.llm.model_path)
    alone = load(model, kv_policy=policy, kv_budget=budget, document_min=None, flash_attn=True, **settings)
    left, last = [], []
    for llm in (shared.llm, alone):
        answer, report = greedy(llm, tokens, 4), llm.last_prefill
        assert report is not None
        selected = None if report.selected is None else report.selected.tolist()
        left.append((answer, report.selection_layer, report.forced, selected, report))
        last.append(logits(llm))
    if way != "full":
        assert cells(shared.llm) == cells(alone)
    alone.close()
    assert left[0][-1].reused == len(tokens) - TAIL
    return left[0], left[1], float(np.abs(last[0] - last[1]).max())


@pytest.mark.parametrize("way", [pytest.param(way, marks=pytest.mark.slow) if way in REAL else way for way in WAYS])
def test_equals_an_ordinary_run(request: pytest.FixtureRequest, way: str) -> None:
    """To the bit, if one of its ubatches ends where the tail begins.

    Where nothing is pruned the ordinary run is llama.cpp's own, which takes another kernel of attention for less than
    64 rows; the shared one's tail never does. So all of its tokens are in one ubatch.
    """
    shared: SharedLlama = request.getfixturevalue("real" if way in REAL else "shared")
    ours, theirs, difference = both(shared, way, PROMPTS[0], n_ubatch=N if way in ("full", "fits") else N - TAIL)
    assert ours[:-1] == theirs[:-1] and difference == 0
    if way == "full":
        return
    names = {"reason", "relative_variance", "kv_bytes", "kv_bytes_full", "keep", "position_shift", "policy"}
    if way == "never":  # the shared prompt is known in all layers, and the rule is not asked
        names -= {"reason", "relative_variance"}
    for name in names:
        assert getattr(ours[-1], name) == getattr(theirs[-1], name), name


@pytest.mark.parametrize("how", list(COMBINED)[1:])
def test_scores_combined_by_the_policy_are_those_of_the_ablation(shared: SharedLlama, how: str) -> None:
    heads, score_layers = COMBINED[how]
    policy = ASL(layer=17, heads=heads, score_layers=score_layers, select_k=128)
    shared.set_policy(policy)
    shared.llm.eval(PROMPTS[0])
    assert shared.prompt is not None and shared.llm.last_prefill is not None
    scores = combined(shared.prompt.window_sums(32)[:18], 32, policy.kernel, how)
    selected = selected_positions(scores, 128 - 32, 32)
    np.testing.assert_array_equal(shared.llm.last_prefill.selected, selected)
    paper = selected_positions(combined(shared.prompt.window_sums(32)[:18], 32, 7, "sum"), 128 - 32, 32)
    assert (paper != selected).any()


@pytest.mark.parametrize("policy", ["asl:layer=17", "fastkv:layer=17", "asl-2pass:layer=17"])
def test_sentences_are_those_of_the_prompts_text(shared: SharedLlama, policy: str) -> None:
    """The set is the one that the recorded scores and the tokens' texts give; but one unit is kept in part."""
    tokens = PROMPTS[0]
    shared.set_policy(parse_policy(f"{policy},select_k=128,heads=max,score_layers=2,units=sentences"))
    shared.llm.eval(tokens)
    assert shared.prompt is not None and shared.llm.last_prefill is not None
    report = shared.llm.last_prefill
    texts = [shared.llm.detokenize([token]) for token in tokens]
    starts = unit_starts(texts)
    assert len(starts) > 12
    scores = combined(shared.prompt.window_sums(32)[:18], 32, 7, "max")
    before = combined(shared.prompt.window_sums(32)[:17], 32, 7, "max")
    expected = selected_units(np.maximum(scores, before), 128 - 32, 32, starts)
    assert report.selected is not None and report.selected.tolist() == expected.tolist()
    kept = np.isin(np.arange(N - 32), report.selected)
    shares = [kept[a:b].mean() for a, b in zip(starts, np.append(starts[1:], N), strict=True) if a < N - 32]
    assert sum(0 < share < 1 for share in shares) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("load", "tokens"), [(load_real, PROMPTS[1]), (load, PROMPTS[2])], ids=("second", "third"))
def test_other_prompts(load: Callable[..., Llama], tokens: list[int]) -> None:
    llm = load(n_ubatch=N - TAIL)
    shared = SharedLlama(llm)
    shared.record(tokens, TAIL)
    for way in ("the rule", "snapkv", "gemfilter"):
        ours, theirs, difference = both(shared, way, tokens, n_ubatch=N - TAIL)
        assert ours[:-1] == theirs[:-1] and difference == 0
    llm.close()


@pytest.mark.slow
def test_other_ubatches_round_no_more_than_llama_cpp_does() -> None:
    """The tail is an ubatch of its own; where the ordinary run has no border there, sums round differently."""
    llm = load_real()
    shared = SharedLlama(llm)
    shared.record(PROMPTS[1], TAIL)
    shared.set_policy(parse_policy("full"))
    ours = prompt_logits(llm, PROMPTS[1])
    stock = []
    for n_ubatch in (512, N - TAIL):
        one = load_real(kv_policy="full", flash_attn=True, n_ubatch=n_ubatch)
        stock.append(prompt_logits(one, PROMPTS[1]))
        one.close()
    assert np.abs(ours - stock[0]).max() < 0.2 + np.abs(stock[1] - stock[0]).max()
    llm.close()


@pytest.mark.slow
def test_the_policies_differ(real: SharedLlama) -> None:
    """Otherwise the equalities above would prove little."""
    layers = {}
    for way in ("the rule", "forced", "never", "fastkv", "gemfilter"):
        real.set_policy(parse_policy(WAYS[way][0]))
        greedy(real.llm, PROMPTS[0], 1)
        report = real.llm.last_prefill
        assert report is not None
        layers[way] = (report.selection_layer, report.forced)
    assert layers == {
        "the rule": (11, False), "forced": (22, True), "never": (None, False), "fastkv": (14, True),
        "gemfilter": (12, True),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("swa_full", [False, True])
def test_sliding_windows(gemma_path: Path, swa_full: bool) -> None:
    """Layer 5 is the first of full attention; gemfilter selects there, and compresses it first."""
    settings: dict[str, Any] = {"swa_full": swa_full, "n_ctx": 768, "document_min": None}
    settings |= {"n_batch": 600, "n_ubatch": 600 - TAIL}
    llm = load(gemma_path, **settings)
    tokens = llm.tokenize(b"It was the best of times, it was the worst of times. The key is 4711. " * 40)[:600]
    shared = SharedLlama(llm)
    shared.record(tokens, TAIL)
    for policy, budget, layer in (("gemfilter:select_k=128", None, 5), ("fastkv:layer=11,select_k=128", 100, 11)):
        alone = load(gemma_path, kv_policy=policy, kv_budget=budget, **settings)
        shared.set_policy(parse_policy(policy), budget)
        assert greedy(llm, tokens, 3) == greedy(alone, tokens, 3)
        assert logits(llm).tobytes() == logits(alone).tobytes()
        report = llm.last_prefill
        assert report is not None and report.selection_layer == layer and report.reused == 600 - TAIL
        alone.close()
    llm.close()


def test_a_selection_after_the_first_layer(shared: SharedLlama) -> None:
    for policy, budget in (("fastkv:layer=0,select_k=128", 100), ("fastkv:layer=0,select_k=128", None)):
        shared.set_policy(parse_policy(policy), budget)
        alone = load(kv_policy=policy, kv_budget=budget, n_ubatch=N - TAIL, document_min=None)
        assert greedy(shared.llm, PROMPTS[0], 2) == greedy(alone, PROMPTS[0], 2)
        assert logits(shared.llm).tobytes() == logits(alone).tobytes()
        alone.close()


def test_a_prompt_no_longer_than_the_tail(real: SharedLlama) -> None:
    short = SharedLlama(real.llm)
    short.record(PROMPTS[0][:20], TAIL)
    short.set_policy(parse_policy("asl:select_k=1000"))
    assert greedy(short.llm, PROMPTS[0][:20], 2) == greedy(load_real(kv_policy="full"), PROMPTS[0][:20], 2)
