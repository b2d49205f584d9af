"""The maths against plain loops, and against what the paper's reference code recorded."""

from itertools import product
from typing import Any, Literal

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from asl_llamacpp.policies import ASL
from asl_llamacpp.selection.ranks import best, rank, rank_variance, selected_positions
from asl_llamacpp.selection.rule import Decision, Selector
from asl_llamacpp.selection.scores import add_heads, pool, token_scores

prompts = pytest.mark.parametrize("prompt", oracle.prompts(), ids=lambda prompt: prompt.id)
kernels = st.integers(0, 8).map(lambda half: 2 * half + 1)
shapes = array_shapes(min_dims=2, max_dims=2, max_side=24)
heads = arrays(np.float32, shapes, elements=st.floats(0, 32, width=32))


def stable(ranks: NDArray[Any], scores: NDArray[Any]) -> NDArray[Any]:
    """Ranks with each group of equal scores put in order of position: our rule for what they leave open."""
    ranks = ranks.astype(np.int32)
    for row, values in zip(ranks, scores, strict=True):
        unique, counts = np.unique(values, return_counts=True)
        for value in unique[counts > 1]:
            tied = np.flatnonzero(values == value)
            row[tied] = np.sort(row[tied])
    return ranks


# --- the pieces -------------------------------------------------------------------------------------------


@given(heads, kernels)
def test_pool_is_a_mean_with_zeros_at_the_borders(sums: NDArray[np.float32], kernel: int) -> None:
    before = sums.copy()
    half = kernel // 2
    expected = np.zeros(sums.shape)
    for head, at in product(*map(range, sums.shape)):
        for near in range(max(at - half, 0), min(at + half + 1, sums.shape[1])):
            expected[head, at] += sums[head, near] / kernel
    pooled = pool(sums, kernel)
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-30)
    np.testing.assert_array_equal(sums, before)


def test_pool_keeps_small_scores_behind_large_ones() -> None:
    sums = np.full((1, 100_000), 1e-7, dtype=np.float32)
    sums[0, :50] = 32
    np.testing.assert_allclose(pool(sums, 7)[0, 60:-3], 1e-7, rtol=1e-6)


@given(heads, st.integers(1, 30), kernels)
def test_window_columns_never_reach_the_scores(sums: NDArray[np.float32], window: int, kernel: int) -> None:
    scores = token_scores(sums, window, kernel)
    assert scores.shape == (max(sums.shape[1] - window, 0),)
    assert scores.dtype == np.float32
    changed = sums.copy()
    changed[:, max(sums.shape[1] - window, 0) :] = 1e9
    np.testing.assert_array_equal(scores, token_scores(changed, window, kernel))
    past = sums[:, : len(scores)]
    np.testing.assert_allclose(scores, pool(past, kernel).sum(axis=0), rtol=1e-6)


@given(arrays(np.float32, st.integers(0, 60), elements=st.integers(0, 9).map(float)))
def test_ranks_are_a_permutation_and_ties_go_by_position(scores: NDArray[np.float32]) -> None:
    ranks = rank(scores)
    assert ranks.dtype == np.int32
    by_rank = sorted(range(len(scores)), key=lambda at: (-scores[at], at))
    assert [by_rank.index(at) + 1 for at in range(len(scores))] == ranks.tolist()


@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_variance_is_over_the_union_of_the_best(n_rows: int, n_past: int, top: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = np.stack([random.permutation(n_past).astype(np.int32) + 1 for _ in range(n_rows)])
    union = {at for row in rows for at in range(n_past) if row[at] <= top}
    total = 0.0
    for at in union:
        mean = sum(row[at] for row in rows) / n_rows
        total += sum((row[at] - mean) ** 2 for row in rows) / n_rows
    variance, size = rank_variance(rows, top)
    assert size == len(union)
    assert variance == pytest.approx(total / len(union), rel=1e-9, abs=1e-12)


def test_equal_rows_have_no_variance() -> None:
    assert rank_variance(np.tile(np.arange(1, 100_001, dtype=np.int32), (3, 1)), 2000) == (0.0, 2000)


@given(st.lists(st.integers(-3, 3), max_size=40), st.integers(-1, 45))
def test_best_is_the_head_of_a_stable_sort(scores: list[int], count: int) -> None:
    values = np.array(scores, dtype=np.float32)
    order = np.argsort(-values, kind="stable")[: max(count, 0)]
    assert best(values, count).tolist() == sorted(order.tolist())


@given(arrays(np.float32, st.integers(1, 120), elements=st.integers(0, 9).map(float)), st.data())
def test_selected_set(scores: NDArray[np.float32], data: st.DataObject) -> None:
    n_past, window = len(scores), data.draw(st.integers(1, 40))
    top = data.draw(st.integers(1, n_past))
    positions = selected_positions(scores, top, window)
    assert positions.dtype == np.int32
    assert (np.diff(positions) > 0).all()
    assert positions[top:].tolist() == list(range(n_past, n_past + window))
    assert sorted(rank(scores)[positions[:top]]) == list(range(1, top + 1))


# --- the same numbers as the formulas written down plainly, bit for bit -----------------------------------

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
rough = st.integers(0, 6).map(lambda value: value / 4)  # many ties


@given(arrays(np.float32, st.integers(0, 200), elements=st.one_of(finite, rough, st.just(-0.0))))
def test_ranks_are_those_of_a_stable_sort(scores: NDArray[np.float32]) -> None:
    expected = np.empty(len(scores), dtype=np.int32)
    expected[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    np.testing.assert_array_equal(rank(scores), expected)


@given(heads, st.integers(1, 30), kernels, st.sampled_from(["sum", "max"]))
def test_scores_are_those_of_all_heads_at_once(
    sums: NDArray[np.float32], window: int, kernel: int, how: Literal["sum", "max"]
) -> None:
    past = sums[:, : max(sums.shape[1] - window, 0)].astype(np.float64)
    pooled = past.copy()
    for shift in range(1, kernel // 2 + 1):
        pooled[:, shift:] += past[:, :-shift]
        pooled[:, :-shift] += past[:, shift:]
    expected = (pooled / kernel).max(axis=0) if how == "max" else (pooled / kernel).sum(axis=0)
    np.testing.assert_allclose(token_scores(sums, window, kernel, how), expected, rtol=1e-6, atol=1e-30)


@given(heads)
def test_heads_are_added_once_each(sums: NDArray[np.float32]) -> None:
    before = sums.copy()
    assert add_heads(sums).shape == (1, sums.shape[1])
    np.testing.assert_allclose(add_heads(sums)[0], sums.sum(axis=0, dtype=np.float64), rtol=1e-6, atol=1e-30)
    np.testing.assert_array_equal(sums, before)


@given(arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 200)), elements=rough), st.integers(1, 220))
def test_variance_is_that_of_the_stacked_rows(scores: NDArray[np.float32], top: int) -> None:
    rows = np.stack([rank(row) for row in scores])
    union = np.ascontiguousarray(rows[:, (rows <= top).any(axis=0)])  # bits depend on how the memory lies
    expected = float(union.var(axis=0, dtype=np.float64).mean())
    assert rank_variance(list(rows), top) == (expected, union.shape[1])


def window_sums(q: NDArray[np.float32], k: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Softmax attention of the last `window` queries, summed over them: [h, n, d], [hk, n, d] to [h, n]."""
    n_head, n, d = q.shape
    k = np.repeat(k, n_head // len(k), axis=0)
    logits = q[:, n - window :].astype(np.float64) @ k.transpose(0, 2, 1) / np.sqrt(d)
    logits[:, np.triu(np.ones((window, n), dtype=bool), n - window + 1)] = -np.inf
    attention = np.exp(logits - logits.max(axis=2, keepdims=True))
    sums = (attention / attention.sum(axis=2, keepdims=True)).sum(axis=1)
    return sums.astype(np.float32)  # type: ignore[no-any-return]


@pytest.mark.parametrize("case", [case for case in oracle.unit_cases() if not case["is_maxpool"]])
def test_scores_from_queries_and_keys(case: dict[str, Any]) -> None:
    scores = token_scores(window_sums(case["q"], case["k"], case["window"]), case["window"], case["kernel"])
    np.testing.assert_allclose(scores, case["scores"], rtol=2e-6)
    np.testing.assert_array_equal(rank(scores), case["ranks"])


# --- the recorded runs ------------------------------------------------------------------------------------


@prompts
def test_ranks_are_the_recorded_ones(prompt: oracle.Prompt) -> None:
    scores = oracle.scores(prompt)
    ranks = np.stack([rank(row) for row in scores])
    recorded = oracle.ranks(prompt)
    np.testing.assert_array_equal(ranks, stable(recorded, scores))
    assert (ranks != recorded).sum() == prompt.ties["positions_where_stable_rank_differs"]


@prompts
def test_variance_is_the_recorded_one(prompt: oracle.Prompt) -> None:
    ranks = oracle.ranks(prompt).astype(np.int32)
    for name, recorded in prompt.trajectory.items():
        l_min, select_k = (int(part[1:]) for part in name.split("_"))
        top = select_k - oracle.WINDOW
        rows = [ranks[layer - oracle.L_OBS + 1 : layer + 1] for layer in range(l_min, oracle.N_LAYER)]
        variance, union = zip(*(rank_variance(row, top) for row in rows), strict=True)
        np.testing.assert_allclose(np.array(variance) / variance[0], recorded["ratio"], rtol=1e-5)
        assert list(union) == recorded["union"]
        assert variance[0] == pytest.approx(recorded["initial_variance"], rel=1e-5)


def replay(policy: ASL, prompt: oracle.Prompt) -> tuple[Selector, Decision | None]:
    """The rule on recorded scores: they are pooled and summed, so one head and kernel 1 leave them alone."""
    selector = Selector(policy.resolve(oracle.N_LAYER), prompt.n)
    window = np.zeros(oracle.WINDOW, dtype=np.float32)
    for layer, scores in enumerate(oracle.scores(prompt)):
        sums = np.concatenate([scores, window])[np.newaxis] if selector.needs_scores(layer) else None
        if decision := selector.observe(layer, sums):
            return selector, decision
    return selector, None


@prompts
def test_rule_chooses_the_recorded_layer_and_set(prompt: oracle.Prompt) -> None:
    runs = [run for run in prompt.runs.values() if run.is_asl]
    assert runs
    for run in runs:
        params = run.params
        policy = ASL(
            tau=params["tau"],
            l_min=params["L_min"],
            l_max=None,
            l_obs=params["L_obs"],
            kernel=1,
            select_k=params["select_k"],
        )
        selector, decision = replay(policy, prompt)
        if prompt.n <= policy.select_k:
            assert decision is None
            assert selector.relative_variance == {}
            continue
        assert (decision.layer if decision else None) == run.selected_layer, run.name
        assert list(selector.relative_variance) == list(
            range(params["L_min"], params["L_min"] + len(run.relative_variance))
        )
        tied = prompt.ties["positions_where_stable_rank_differs"] > 0  # then V_ref may differ a little too
        ratios = list(selector.relative_variance.values())
        np.testing.assert_allclose(ratios, run.relative_variance, rtol=3e-5 if tied else 1e-5)
        if decision:
            assert not decision.forced
            np.testing.assert_array_equal(decision.positions, run.selected)


@prompts
def test_fixed_layer_selects_the_recorded_set(prompt: oracle.Prompt) -> None:
    run = prompt.runs["fixed15_k256"]
    selector, decision = replay(ASL(layer=15, kernel=1, select_k=256), prompt)
    assert decision is not None
    assert (decision.layer, decision.forced) == (run.selected_layer, True)
    assert decision.reason == "fixed by layer=15"
    np.testing.assert_array_equal(decision.positions, run.selected)
    assert selector.relative_variance == {}


def test_recorded_runs_cover_the_rule() -> None:
    layers = {run.selected_layer for prompt in oracle.prompts() for run in prompt.runs.values() if run.is_asl}
    assert None in layers
    assert len(layers) > 5


def test_l_max_takes_over_where_the_rule_does_not_fire() -> None:
    prompt = next(prompt for prompt in oracle.prompts() if prompt.runs["asl_k256"].selected_layer is None)
    _, decision = replay(ASL(l_min=10, l_max=20, kernel=1, select_k=256), prompt)
    assert decision is not None
    assert (decision.layer, decision.forced) == (20, True)
    best = np.argsort(-oracle.scores(prompt)[20], kind="stable")[: 256 - oracle.WINDOW]
    assert decision.positions[: -oracle.WINDOW].tolist() == sorted(best.tolist())
