"""The engine end to end against the runs of the paper's reference code, on the same weights in F32.

By default a part of the runs; ASL_ORACLE_ALL=1 takes all of them, and all prompts where they are at hand.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import llama_fixtures
import numpy as np
import oracle
import pytest
from dequantize import f32_model
from numpy.typing import NDArray

from asl_llamacpp import ASL, FastKV, Full, PrefillReport, SnapKV
from asl_llamacpp.selection.ranks import rank_variance

pytestmark = pytest.mark.slow

F32_KV = {"type_k": 0, "type_v": 0}  # GGML_TYPE_F32, as the reference's cache
N_GREEDY = 8
MARGIN = 0.01  # a ratio nearer to tau than this may flip the layer

SMALL = {
    "00_passkey": (
        *("full", "asl_k128", "asl_k256", "asl_k512", "asl_tau05_k256", "asl_L7_k256", "fixed15_k256"),
        *("snapkv_256", "asl_k256_cache256"),
    ),
    "02_passkey": ("asl_k256",),
    "05_needle": ("full", "asl_L14_k256", "asl_L7_k256"),
    "13_multikey": ("asl_L14_k256",),
    "16_qa": ("asl_L14_k256", "asl_L7_k256", "fixed15_k256", "snapkv_256", "asl_k256_cache256"),
    "18_code": ("asl_L14_k256", "asl_L7_k256", "fixed15_k256"),
}


EVERYTHING = os.environ.get("ASL_ORACLE_ALL") == "1"


def chosen_runs() -> list[tuple[oracle.Prompt, oracle.Run]]:
    return [
        (prompt, run)
        for prompt in oracle.prompts()
        for run in prompt.runs.values()
        if EVERYTHING or run.name in SMALL.get(prompt.id, ())
    ]


RUNS = chosen_runs()
PRUNING = [(prompt, run) for prompt, run in RUNS if run.params]
FULL = [(prompt, run) for prompt, run in RUNS if not run.params]


def named(runs: list[tuple[oracle.Prompt, oracle.Run]]) -> pytest.MarkDecorator:
    ids = [f"{prompt.id}-{run.name}" for prompt, run in runs]
    return pytest.mark.parametrize(("prompt", "run"), runs, ids=ids)


def policy_of(run: oracle.Run) -> ASL | FastKV | SnapKV | Full:
    params = run.params
    if not params:
        return Full()
    if params.get("select_layer") is not None:
        return FastKV(layer=params["select_layer"], select_k=params["select_k"])
    if "tau" not in params:
        return SnapKV()
    sizes = {"l_obs": params["L_obs"], "window": oracle.WINDOW, "kernel": oracle.KERNEL}
    return ASL(tau=params["tau"], l_min=params["L_min"], l_max=None, select_k=params["select_k"], **sizes)


def margin(run: oracle.Run) -> float:
    """How near a recorded ratio came to tau; infinite if the rule was not evaluated."""
    tau = run.params.get("tau", 0)
    return min((abs(ratio - tau) for ratio in run.relative_variance), default=np.inf) if tau else np.inf


def jaccard(a: NDArray[np.int32], b: NDArray[np.int32]) -> float:
    return len(np.intersect1d(a, b)) / len(np.union1d(a, b))


def run_logits(prompt: oracle.Prompt, run: oracle.Run) -> NDArray[np.float32] | None:
    """Logits after the prompt as this run recorded them; None where it did not, or the extract leaves them out."""
    return oracle._arrays(prompt.id).get(f"{run.name}_logits") if run.selected is not None else None


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
    budget = prompt.runs[run_name].params.get("cache_k")
    if budget is not None and isinstance(policy, (ASL, FastKV)):
        policy = replace(policy, keep="heads")  # as the reference compresses
    llm = llama_fixtures.load(f32_path(), n_ctx=prompt.n + 32, kv_policy=policy, kv_budget=budget, **F32_KV)
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
    if run.derived:
        pytest.skip("not executed: its ratios were not recorded")
    shared = min(len(report.relative_variance), len(run.relative_variance))
    assert shared >= 2
    assert list(report.relative_variance)[:shared] == [run.params["L_min"] + i for i in range(shared)]
    ours = list(report.relative_variance.values())[:shared]
    np.testing.assert_allclose(ours, run.relative_variance[:shared], rtol=0.03, atol=0.002)


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


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(a.astype(float) @ b / np.linalg.norm(a.astype(float)) / np.linalg.norm(b.astype(float)))


@named([(prompt, run) for prompt, run in FULL if oracle.full_logits(prompt) is not None])
def test_full_logits(prompt: oracle.Prompt, run: oracle.Run) -> None:
    ours, recorded = outcome(prompt.id, run.name).logits, oracle.full_logits(prompt)
    assert recorded is not None
    assert cosine(ours, recorded) >= 0.999999
    assert np.abs(ours - recorded).max() < 0.001


@named([(prompt, run) for prompt, run in PRUNING if run_logits(prompt, run) is not None])
def test_pruned_logits(prompt: oracle.Prompt, run: oracle.Run) -> None:
    """Less close: pruning needs flash attention, whose CPU kernel computes in half precision."""
    found, recorded = outcome(prompt.id, run.name), run_logits(prompt, run)
    if found.report.selection_layer != run.selected_layer:
        pytest.skip("another layer was chosen, or nothing pruned")
    assert recorded is not None
    assert cosine(found.logits, recorded) >= 0.9999


def test_greedy_answers() -> None:
    """At least 90 % of the runs begin their answer with the same 8 tokens."""
    differing = []
    for prompt, run in RUNS:
        ours, recorded = outcome(prompt.id, run.name).greedy, run.greedy[:N_GREEDY]
        if ours[: len(recorded)] != recorded:
            differing.append(f"{prompt.id}-{run.name}: {ours} instead of {recorded}")
    assert len(differing) <= 0.1 * len(RUNS), "\n".join(differing)


# ---- quantized weights ----------------------------------------------------------------------------------------------

QUANTIZED = [p for p in oracle.prompts() if EVERYTHING or p.id in ("00_passkey", "16_qa", "18_code")]
L_MIN, SELECT_K = 7, 256  # the earliest l_min of the recorded runs: later ones follow from the same curve


def recorded_curve(prompt: oracle.Prompt) -> dict[int, float]:
    """Variance of the recorded ranks by layer, relative to layer L_MIN's."""
    ranks = oracle.ranks(prompt).astype(np.int32)
    variance = {
        layer: rank_variance(ranks[layer - oracle.L_OBS + 1 : layer + 1], SELECT_K - oracle.WINDOW)[0]
        for layer in range(L_MIN, oracle.N_LAYER)
    }
    return {layer: value / variance[L_MIN] for layer, value in variance.items()}


def selection_layer(curve: dict[int, float], l_min: int, tau: float) -> int | None:
    return next((layer for layer, value in curve.items() if layer >= l_min and value / curve[l_min] < tau), None)


def spearman(a: dict[int, float], b: dict[int, float]) -> float:
    orders = [np.argsort(np.argsort(list(curve.values()))) for curve in (a, b)]
    return float(np.corrcoef(*orders)[0, 1])


@pytest.mark.parametrize("prompt", QUANTIZED, ids=lambda prompt: prompt.id)
def test_quantized_weights_move_the_layer_little(
    prompt: oracle.Prompt, record_property: Callable[[str, object], None]
) -> None:
    """Q4_1, whose activations are quantized too. The layers are recorded, not asserted: a ratio near tau may flip."""
    policy = ASL(tau=1e-9, l_min=L_MIN, l_max=None, select_k=SELECT_K)
    llm = llama_fixtures.load(n_ctx=prompt.n + 32, kv_policy=policy)
    llm.eval(prompt.tokens.tolist())
    ours, recorded = llm.last_prefill.relative_variance, recorded_curve(prompt)
    assert ours.keys() == recorded.keys()
    correlation = spearman(ours, recorded)
    print(f"\n{prompt.id}: Spearman of the curves {correlation:.4f}")
    record_property("spearman", correlation)
    for run in prompt.runs.values():
        if run.is_asl and run.params["select_k"] == SELECT_K:
            l_min, tau = run.params["L_min"], run.params["tau"]
            assert selection_layer(recorded, l_min, tau) == run.selected_layer
            print(f"  {run.name}: layer {selection_layer(ours, l_min, tau)}, in F32 {run.selected_layer}")
            record_property(run.name, (selection_layer(ours, l_min, tau), run.selected_layer))
    assert correlation > 0.95
