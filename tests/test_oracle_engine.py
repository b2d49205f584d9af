"""The engine end to end against the runs of the paper's reference code, on the same weights in F32.

By default a part of the runs; ASL_ORACLE_ALL=1 takes all of them, and all prompts where they are at hand.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import llama_fixtures
import numpy as np
import oracle
import pytest
from dequantize import f32_model
from numpy.typing import NDArray

from asl_llamacpp import ASL, Full, PrefillReport

F32_KV = {"type_k": 0, "type_v": 0}  # GGML_TYPE_F32, as the reference's cache
N_GREEDY = 8
MARGIN = 0.01  # a ratio nearer to tau than this may flip the layer

SMALL = {
    "00_passkey": ("full", "asl_k128", "asl_k256", "asl_k512", "asl_tau05_k256", "asl_L7_k256", "fixed15_k256"),
    "02_passkey": ("asl_k256",),
    "05_needle": ("full", "asl_L14_k256", "asl_L7_k256"),
    "13_multikey": ("asl_L14_k256",),
    "16_qa": ("asl_L14_k256", "asl_L7_k256", "fixed15_k256"),
    "18_code": ("asl_L14_k256", "asl_L7_k256", "fixed15_k256"),
}


def chosen_runs() -> list[tuple[oracle.Prompt, oracle.Run]]:
    everything = os.environ.get("ASL_ORACLE_ALL") == "1"
    return [
        (prompt, run)
        for prompt in oracle.prompts()
        for run in prompt.runs.values()
        if run.params.get("cache_k") is None and (everything or run.name in SMALL.get(prompt.id, ()))
    ]


RUNS = chosen_runs()
PRUNING = [(prompt, run) for prompt, run in RUNS if run.params]
FULL = [(prompt, run) for prompt, run in RUNS if not run.params]


def named(runs: list[tuple[oracle.Prompt, oracle.Run]]) -> pytest.MarkDecorator:
    ids = [f"{prompt.id}-{run.name}" for prompt, run in runs]
    return pytest.mark.parametrize(("prompt", "run"), runs, ids=ids)


def policy_of(run: oracle.Run) -> ASL | Full:
    params = run.params
    if not params:
        return Full()
    if "tau" not in params:
        return ASL(layer=params["select_layer"], select_k=params["select_k"])
    sizes = {"l_obs": params["L_obs"], "window": oracle.WINDOW, "kernel": oracle.KERNEL}
    return ASL(tau=params["tau"], l_min=params["L_min"], l_max=None, select_k=params["select_k"], **sizes)


def margin(run: oracle.Run) -> float:
    """How near a recorded ratio came to tau; infinite if the rule was not evaluated."""
    tau = run.params.get("tau", 0)
    return min((abs(ratio - tau) for ratio in run.relative_variance), default=np.inf) if tau else np.inf


def jaccard(a: NDArray[np.int32], b: NDArray[np.int32]) -> float:
    return len(np.intersect1d(a, b)) / len(np.union1d(a, b))


@dataclass(frozen=True)
class Outcome:
    report: PrefillReport
    logits: NDArray[np.float32]
    greedy: list[int]


@cache
def f32_path() -> Path:
    return f32_model(llama_fixtures.default_model(), llama_fixtures.BUILD / "models")


@cache
def outcome(prompt_id: str, run_name: str) -> Outcome:
    """What our engine makes of one recorded run."""
    prompt = next(p for p in oracle.prompts() if p.id == prompt_id)
    policy = policy_of(prompt.runs[run_name])
    tokens = prompt.tokens.tolist()
    llm = llama_fixtures.load(f32_path(), n_ctx=prompt.n + 32, kv_policy=policy, flash_attn=True, **F32_KV)
    llm.eval(tokens)
    report, logits = llm.last_prefill, llama_fixtures.logits(llm)
    result = Outcome(report, logits, llama_fixtures.greedy(llm, tokens, N_GREEDY))
    assert llm.last_prefill is report, "the prompt was prefilled twice"
    llm.close()
    return result


@named(PRUNING)
def test_layer(prompt: oracle.Prompt, run: oracle.Run) -> None:
    if margin(run) <= MARGIN:
        pytest.skip(f"a ratio lies within {margin(run):.4f} of tau")
    report = outcome(prompt.id, run.name).report
    # with n <= select_k the reference may name a layer, but keeps every token
    pruned = run.selected is not None and len(run.selected) < prompt.n
    assert report.selection_layer == (run.selected_layer if pruned else None)
    assert report.forced == (pruned and "tau" not in run.params)
    assert report.cells == run.cells


@named(PRUNING)
def test_ratios(prompt: oracle.Prompt, run: oracle.Run) -> None:
    report = outcome(prompt.id, run.name).report
    if not report.relative_variance:
        assert "tau" not in run.params or prompt.n <= run.params["select_k"]
        return
    shared = min(len(report.relative_variance), len(run.relative_variance))
    assert shared >= 2
    assert list(report.relative_variance)[:shared] == [run.params["L_min"] + i for i in range(shared)]
    ours = list(report.relative_variance.values())[:shared]
    np.testing.assert_allclose(ours, run.relative_variance[:shared], rtol=0.02, atol=0.002)


@named([(prompt, run) for prompt, run in PRUNING if run.selected is not None])
def test_selected_set(prompt: oracle.Prompt, run: oracle.Run) -> None:
    report = outcome(prompt.id, run.name).report
    assert run.selected is not None
    if report.selection_layer != run.selected_layer:
        assert margin(run) <= MARGIN
        pytest.skip("another layer was chosen, where the ratio lies next to tau")
    assert report.selected is not None
    assert len(report.selected) == len(run.selected)
    assert jaccard(report.selected, run.selected) >= 0.98


@named([(prompt, run) for prompt, run in FULL if oracle.full_logits(prompt) is not None])
def test_full_logits(prompt: oracle.Prompt, run: oracle.Run) -> None:
    ours, recorded = outcome(prompt.id, run.name).logits.astype(float), oracle.full_logits(prompt)
    assert recorded is not None
    cosine = ours @ recorded / np.linalg.norm(ours) / np.linalg.norm(recorded.astype(float))
    assert cosine >= 0.999999
    assert np.abs(ours - recorded).max() < 0.05


def test_greedy_answers() -> None:
    """At least 90 % of the runs begin their answer with the same 8 tokens."""
    differing = []
    for prompt, run in RUNS:
        ours, recorded = outcome(prompt.id, run.name).greedy, run.greedy[:N_GREEDY]
        if ours[: len(recorded)] != recorded:
            differing.append(f"{prompt.id}-{run.name}: {ours} instead of {recorded}")
    assert len(differing) <= 0.1 * len(RUNS), "\n".join(differing)
