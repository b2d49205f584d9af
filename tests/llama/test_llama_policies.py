"""Every policy through `Llama`: what each layer holds, what it gives, and that a state of it restores what was."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from llama_fixtures import cells, greedy, logits, prompt
from llama_fixtures import load as load_real
from llama_fixtures import load_narrow as load

from asl_llamacpp import Llama, PrefillReport

N, K, B = 300, 96, 80
DOCUMENT = prompt(N)
SIZES = f"select_k={K},window=16"

CASES = {
    "fastkv": (f"fastkv:{SIZES}", None, [N] * 15 + [K] * 15),
    "fastkv at 20": (f"fastkv:layer=20,{SIZES}", None, [N] * 21 + [K] * 9),
    "fastkv in a budget": (f"fastkv:{SIZES},keep=heads", B, [B] * 30),
    "snapkv": (f"snapkv:budget={B},window=16", None, [B] * 30),
    "snapkv in a budget": ("snapkv:window=16", B, [B] * 30),
    "snapkv in a fraction": ("snapkv:window=16", 0.25, [75] * 30),
    "asl in a budget": (f"asl:layer=14,{SIZES},keep=heads", 200, [200] * 15 + [K] * 15),
    "the selected in a budget": (f"asl:layer=14,{SIZES}", B, [min(B, K)] * 30),
    "gemfilter": (f"gemfilter:select_k={K}", None, [K] * 30),
    "asl-2pass": (f"asl-2pass:layer=14,{SIZES}", None, [K] * 30),
    "asl-2pass in a budget": (f"asl-2pass:layer=14,{SIZES}", B, [B] * 30),
}


def report_of(llm: Llama) -> PrefillReport:
    assert llm.last_prefill is not None
    return llm.last_prefill


@pytest.mark.parametrize("case", CASES)
def test_every_layer_holds_what_the_policy_says(case: str) -> None:
    policy, budget, want = CASES[case]
    llm = load(kv_policy=policy, kv_budget=budget)
    llm.eval(DOCUMENT)
    report, engine = report_of(llm), llm._engine
    assert engine is not None
    assert report.cells == cells(llm) == want
    assert report.kv_bytes == engine.info().kv_bytes == sum(engine.layer(il).bytes for il in range(30))
    # one layer with all the prompt's cells, beside what the others keep, and its copy while it is compressed
    one_full = report.kv_bytes_full // 30
    assert report.peak_kv_bytes <= report.kv_bytes + one_full + (0 if max(want) == N else report.kv_bytes // 30)
    assert (report.keep is not None) == (case.startswith("snapkv") or "asl in" in case or "fastkv in" in case)
    assert np.isfinite(logits(llm)).all()


@pytest.mark.parametrize("case", CASES)
def test_state_restores_what_was(case: str) -> None:
    """Through save_state, pickled: the next 32 greedy tokens are the same."""
    policy, budget, want = CASES[case]
    llm = load(kv_policy=policy, kv_budget=budget, n_ctx=512)
    first = greedy(llm, DOCUMENT, 1)
    assert llm.last_prefill is not None
    state = pickle.loads(pickle.dumps(llm.save_state()))
    stream = llm.generate(first, temp=0.0, reset=False)
    expected = [next(stream) for _ in range(32)]
    stream.close()

    twin = load(kv_policy=policy, kv_budget=budget, n_ctx=512)
    twin.load_state(state)
    assert cells(twin) == want
    assert report_of(twin).cells == want
    stream = twin.generate(first, temp=0.0, reset=False)
    assert [next(stream) for _ in range(32)] == expected


TWO_PASSES = {f"gemfilter:select_k={K}": load_real, f"asl-2pass:layer=14,{SIZES}": load}


@pytest.mark.slow
@pytest.mark.parametrize("policy", TWO_PASSES)
def test_two_passes_equal_a_prompt_of_the_selected_tokens(policy: str) -> None:
    """Bit for bit, in the prompt's and in the answer's logits: positions 0..k-1."""
    load = TWO_PASSES[policy]
    llm = load(kv_policy=policy)
    answer = greedy(llm, DOCUMENT, 8)
    selected = report_of(llm).selected
    assert selected is not None and len(selected) == K and selected[-1] == N - 1
    assert report_of(llm).position_shift == N - K

    short = [DOCUMENT[position] for position in selected]
    plain = load(kv_policy="full", flash_attn=True)
    assert greedy(plain, short, 8) == answer
    for one, prompt_tokens in ((llm, DOCUMENT), (plain, short)):
        one.reset()
        one.eval(prompt_tokens)
    assert logits(llm).tobytes() == logits(plain).tobytes()
    for one in (llm, plain):
        one.eval([answer[0]])
    assert logits(llm).tobytes() == logits(plain).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("case", ["gemfilter", "asl in a budget"])
def test_prompts_follow_each_other(case: str) -> None:
    """The same prompt again, another one, a continuation: each as in a new object."""
    policy, budget, _ = CASES[case]
    turns = [DOCUMENT, DOCUMENT, prompt(250, start=100), DOCUMENT[:60]]
    llm = load_real(kv_policy=policy, kv_budget=budget)
    for tokens in turns:
        fresh = load_real(kv_policy=policy, kv_budget=budget)
        assert greedy(llm, tokens, 4) == greedy(fresh, tokens, 4)
        fresh.close()


def test_short_prompts_are_not_compressed() -> None:
    llm = load(kv_policy="snapkv:window=16", kv_budget=B)
    llm.eval(DOCUMENT[:B])
    assert cells(llm) == [B] * 30
    plain = load(kv_policy="full", flash_attn=True)
    plain.eval(DOCUMENT[:B])
    assert logits(llm).tobytes() == logits(plain).tobytes()


def test_a_budget_as_large_as_the_prompt_changes_nothing() -> None:
    llm = load(kv_policy=f"fastkv:{SIZES}", kv_budget=N)
    llm.eval(DOCUMENT)
    plain = load(kv_policy=f"fastkv:{SIZES}")
    plain.eval(DOCUMENT)
    assert logits(llm).tobytes() == logits(plain).tobytes()


@pytest.mark.parametrize("name", ["asl", "asl-2pass", "fastkv", "gemfilter", "snapkv"])
def test_defaults_serve_a_model_of_six_layers(tiny_path: Callable[[str], Path], name: str) -> None:
    size = "budget" if name == "snapkv" else "select_k"
    llm = load(tiny_path("tiny-llama"), kv_policy=f"{name}:{size}=64")
    llm.eval([3 + token % 250 for token in DOCUMENT])
    # the rule needs more layers to look back at, so it selects nothing
    assert set(report_of(llm).cells) == {"asl": {N}, "asl-2pass": {N}, "fastkv": {N, 64}}.get(name, {64})


@pytest.mark.parametrize("policy", ["asl:layer=2,select_k=512,window=16", "asl:select_k=3000"], ids=["pruned", "whole"])
@pytest.mark.parametrize(("max_tokens", "room"), [(4, 256), (300, 300), (1000, 2600 // 8), (None, 256)])
def test_room_for_the_answer_that_was_asked_for(
    tiny_path: Callable[[str], Path], policy: str, max_tokens: int | None, room: int
) -> None:
    """Not for a short one alone, which is enlarged and copied at the 257th token, nor for one that nobody wants."""
    tokens = np.random.default_rng(0).integers(5, 250, 2600).tolist()
    llm = load(tiny_path("tiny-llama"), kv_policy=policy, n_ctx=4096)
    next(iter(llm(tokens, max_tokens=max_tokens, stream=True, logit_bias={100: 1000.0})))  # "a", a whole character
    assert llm._engine is not None and llm._engine.info().n_grow == 0
    assert llm._engine.layer(0).n_cells_max == -(-(2600 + room) // 256) * 256
