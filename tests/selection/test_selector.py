"""The rule's edges: short prompts, forced layers, layers without scores, and what callers get wrong."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from asl_llamacpp.policies import ASL
from asl_llamacpp.selection.ranks import rank, rank_variance
from asl_llamacpp.selection.rule import Decision, Selector

N_TOKENS, WINDOW = 40, 4
RISING = np.arange(1, N_TOKENS + 1, dtype=np.float32)
FALLING = RISING[::-1].copy()


def small(**values: Any) -> ASL:
    defaults = {"l_obs": 2, "l_min": 2, "l_max": None, "window": WINDOW, "kernel": 1, "select_k": 10}
    return ASL(**defaults | values)


def shuffled(seed: int = 0) -> Iterator[NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    while True:
        yield random.permutation(RISING)


def drive(
    policy: ASL,
    rows: Iterable[NDArray[np.float32]],
    n_layer: int = 8,
    n_tokens: int = N_TOKENS,
    scored: Iterable[int] | None = None,
) -> tuple[Selector, Decision | None]:
    """Show the layers one after another, each with the next of `rows` if its scores are needed."""
    selector = Selector(policy.resolve(n_layer), n_tokens, scored)
    rows = iter(rows)
    for layer in range(n_layer):
        sums = next(rows)[np.newaxis, -n_tokens:] if selector.needs_scores(layer) else None
        if decision := selector.observe(layer, sums):
            assert decision is selector.decision
            assert selector.reason == decision.reason
            return selector, decision
    return selector, None


def test_layers_needed_are_those_the_rule_looks_back_to() -> None:
    selector = Selector(small(l_obs=3, l_min=7), N_TOKENS)
    assert (selector.first_scored_layer, selector.next_decision_layer(0)) == (5, 7)
    assert [selector.needs_scores(layer) for layer in (0, 4, 5, 7, 20)] == [False, False, True, True, True]


def test_low_tau_never_fires_and_says_so() -> None:
    selector, decision = drive(small(tau=1e-9), shuffled())
    assert decision is None
    assert list(selector.relative_variance) == [2, 3, 4, 5, 6, 7]
    lowest = min(selector.relative_variance.values())
    assert f"never below tau=1e-09 (lowest {lowest:.3g}, layer " in selector.reason


def test_high_tau_fires_at_l_min() -> None:
    selector, decision = drive(small(tau=1.5), shuffled())
    assert decision is not None
    assert (decision.layer, decision.forced, decision.reason) == (2, False, "relative variance 1 < tau 1.5")
    assert selector.relative_variance == {2: 1.0}
    assert len(decision.positions) == 10


def test_relative_variance_must_be_below_tau_not_equal() -> None:
    assert drive(small(tau=1.0, l_max=2), shuffled())[1].forced  # type: ignore[union-attr]


def test_settled_ranks_fire() -> None:
    selector, decision = drive(small(), [RISING, FALLING, FALLING])
    assert decision is not None
    assert (decision.layer, selector.variance[3], selector.relative_variance[3]) == (3, 0.0, 0.0)


@pytest.mark.parametrize("tau", [0.3, 5.0])
def test_no_variance_at_l_min_selects_at_the_next_layer(tau: float) -> None:
    selector, decision = drive(small(tau=tau), [RISING, RISING, FALLING])
    assert decision is not None
    assert (decision.layer, decision.forced) == (3, False)
    assert decision.reason == "all ranks already agreed at layer 2"
    assert selector.relative_variance == {2: 1.0, 3: 0.0}
    assert decision.positions.tolist() == [0, 1, 2, 3, 4, 5, 36, 37, 38, 39]  # the falling row's best


def test_l_max_forces_and_says_so() -> None:
    selector, decision = drive(small(tau=1e-9, l_max=4), shuffled())
    assert decision is not None
    assert (decision.layer, decision.forced) == (4, True)
    assert decision.reason.startswith("forced by l_max=4: relative variance never below tau")
    assert list(selector.relative_variance) == [2, 3, 4]


def test_rule_firing_at_l_max_is_not_forced() -> None:
    _, decision = drive(small(l_max=3), [RISING, FALLING, FALLING])
    assert decision is not None
    assert (decision.layer, decision.forced) == (3, False)


@pytest.mark.parametrize("n_tokens", [1, 3, 4, 5, 9, 10])
def test_short_prompts_are_not_pruned(n_tokens: int) -> None:
    selector, decision = drive(small(tau=9, l_max=2), shuffled(), n_tokens=n_tokens)
    assert decision is None
    assert not selector.prunes
    assert not any(selector.needs_scores(layer) for layer in range(8))
    assert selector.reason == f"the prompt's {n_tokens} tokens fit select_k=10"


def test_one_token_more_than_select_k_is_pruned() -> None:
    selector, decision = drive(small(tau=9), shuffled(), n_tokens=11)
    assert selector.prunes
    assert decision is not None
    assert len(decision.positions) == 10


def test_model_with_too_few_layers_never_fires() -> None:
    selector, decision = drive(ASL(window=WINDOW, select_k=10), shuffled(), n_layer=6)
    assert decision is None
    assert selector.reason == "fewer than two layers with scores by l_min=7 or after it"


# Sliding-window layers give no scores.


def test_rule_counts_scored_layers_only() -> None:
    policy = small(l_obs=3, l_min=7, tau=1e-9)
    selector, _ = drive(policy, shuffled(), n_layer=24, scored=[2, 5, 8, 11, 17, 23])
    assert selector.first_scored_layer == 2
    assert list(selector.relative_variance) == [8, 11, 17, 23]
    rows = [rank(row[:-WINDOW]) for row, _ in zip(shuffled(), range(6), strict=False)]
    expected = [rank_variance(np.stack(rows[i : i + 3]), 6)[0] for i in range(4)]
    np.testing.assert_allclose(list(selector.variance.values()), expected)


def test_reference_waits_for_two_rows() -> None:
    selector, _ = drive(small(l_obs=8, l_min=7, tau=1e-9), shuffled(), n_layer=24, scored=[9, 15, 21])
    assert selector.first_scored_layer == 9
    assert list(selector.relative_variance) == [15, 21]
    assert selector.relative_variance[15] == 1.0


def test_no_variance_selects_at_the_next_scored_layer() -> None:
    _, decision = drive(small(l_min=3), [RISING, RISING, RISING], n_layer=9, scored=[1, 4, 7])
    assert decision is not None
    assert decision.layer == 7


def test_forcing_between_scored_layers_uses_the_latest_scores() -> None:
    rows = [RISING, FALLING, RISING]
    selector, decision = drive(small(l_obs=3, l_max=6), rows, scored=[1, 5, 7])
    assert decision is not None
    assert (decision.layer, decision.forced) == (6, True)
    assert decision.reason.startswith("forced by l_max=6, by the scores of layer 5: ")
    assert decision.positions.tolist() == [0, 1, 2, 3, 4, 5, 36, 37, 38, 39]
    assert list(selector.relative_variance) == [5]


def test_forcing_before_any_scored_layer_waits_for_one() -> None:
    _, decision = drive(small(l_max=3), shuffled(), scored=[5, 7])
    assert decision is not None
    assert (decision.layer, decision.forced) == (5, True)
    assert decision.reason.startswith("forced by l_max=3, at the first layer with scores: ")


@pytest.mark.parametrize(
    ("layer", "asked", "decided", "reason"),
    [
        (5, 5, 5, "fixed by layer=5"),
        (6, 5, 6, "fixed by layer=6, by the scores of layer 5"),
        (0, 1, 1, "fixed by layer=0, at the first layer with scores"),
    ],
)
def test_fixed_layer_asks_for_one_layers_scores(layer: int, asked: int, decided: int, reason: str) -> None:
    selector = Selector(small(layer=layer).resolve(8), N_TOKENS, [1, 5, 7])
    assert (selector.first_scored_layer, selector.next_decision_layer(0)) == (asked, layer)
    _, decision = drive(small(layer=layer), [FALLING], scored=[1, 5, 7])
    assert decision is not None
    assert (decision.layer, decision.forced, decision.reason) == (decided, True, reason)


@pytest.mark.parametrize(("layer", "reason"), [(None, "fewer than two layers"), (3, "no scores at layer=3")])
def test_without_any_scores_nothing_is_selected(layer: int | None, reason: str) -> None:
    selector, decision = drive(small(layer=layer, l_max=4), [], scored=[])
    assert decision is None
    assert selector.first_scored_layer is None
    assert selector.reason.startswith(reason)


# What callers get wrong.


def test_unresolved_policy_is_refused() -> None:
    with pytest.raises(ValueError, match=r"policy.resolve\(n_layer\)"):
        Selector(ASL(), 5000)


@pytest.mark.parametrize("layer", [1, 2])
def test_missing_scores_are_refused(layer: int) -> None:
    selector = Selector(small(), N_TOKENS)
    with pytest.raises(ValueError, match="scores of layer 1 are needed"):
        selector.observe(layer, RISING[np.newaxis] if layer == 2 else None)


def test_layers_out_of_order_are_refused() -> None:
    selector = Selector(small(), N_TOKENS)
    selector.observe(1, RISING[np.newaxis])
    with pytest.raises(ValueError, match="layer 1 after layer 1"):
        selector.observe(1, RISING[np.newaxis])


@pytest.mark.parametrize("sums", [RISING, RISING[np.newaxis, 1:], RISING[np.newaxis, np.newaxis]])
def test_misshapen_scores_are_refused(sums: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match=r"must be \[n_head, 40\]"):
        Selector(small(), N_TOKENS).observe(1, sums)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(value: float) -> None:
    sums = RISING[np.newaxis].copy()
    sums[0, 7] = value
    with pytest.raises(ValueError, match="layer 1 are not finite"):
        Selector(small(), N_TOKENS).observe(1, sums)


def test_nothing_is_asked_for_or_decided_twice() -> None:
    selector, decision = drive(small(tau=2), shuffled())
    assert decision is not None
    assert not selector.needs_scores(decision.layer + 1)
    assert selector.observe(decision.layer + 1) is None
    assert selector.decision is decision


# ---- what the paper does not have -----------------------------------------------------------------------------------


def test_reference_at_the_peak_equals_the_papers_where_the_variance_falls() -> None:
    rows = [RISING, FALLING, *([RISING] * 6)]
    first = drive(small(tau=0.1), rows)
    peak = drive(small(tau=0.1, reference="peak"), rows)
    assert first[0].relative_variance == peak[0].relative_variance
    assert first[1] is not None and peak[1] is not None and first[1].layer == peak[1].layer == 4


def test_reference_at_the_peak_lets_a_later_fall_fire() -> None:
    nearly = RISING.copy()
    nearly[[30, 31]] = nearly[[31, 30]]  # the first variance is tiny, the second large, the third tiny again
    rows = [RISING, nearly, FALLING, FALLING, FALLING]
    selector, decision = drive(small(l_min=2, reference="peak"), rows)
    assert decision is not None and not decision.forced and decision.layer == 4
    assert selector.relative_variance == {2: 1.0, 3: 1.0, 4: 0.0}
    assert drive(small(l_min=2, tau=1e-9), rows + [RISING, FALLING] * 4)[1].layer == 4  # type: ignore[union-attr]


def test_heads_by_maximum_let_one_head_decide() -> None:
    """Five heads agree on the first tokens, one points at the last past token."""
    n_past = N_TOKENS - WINDOW
    sums = np.tile(np.linspace(1.0, 0.5, N_TOKENS, dtype=np.float32), (6, 1))
    sums[5] = 0.0
    sums[5, n_past - 1] = 1.5
    for heads, kept in (("sum", False), ("max", True)):
        selector = Selector(small(layer=3, heads=heads).resolve(8), N_TOKENS)
        for layer in range(3):
            selector.observe(layer)
        decision = selector.observe(3, sums)
        assert decision is not None and (n_past - 1 in decision.positions) is kept


@pytest.mark.parametrize(("score_layers", "first"), [(1, 5), (3, 3), (6, 0), (9, 0)])
def test_score_layers_are_those_before_a_fixed_layer_too(score_layers: int, first: int) -> None:
    selector = Selector(small(layer=5, score_layers=score_layers).resolve(8), N_TOKENS)
    assert selector.first_scored_layer == first
    assert [layer for layer in range(8) if selector.needs_scores(layer)] == list(range(first, 8))


def test_score_layers_take_each_tokens_maximum() -> None:
    rows = [np.zeros(N_TOKENS, dtype=np.float32) for _ in range(3)]
    for position, row in zip((3, 20, 30), rows, strict=True):
        row[position] = 1.0
    _, decision = drive(small(layer=4, score_layers=3, select_k=WINDOW + 3), rows)
    assert decision is not None and decision.positions[:3].tolist() == [3, 20, 30]
    assert decision.scores.tolist() == np.max(rows, axis=0)[: N_TOKENS - WINDOW].tolist()
    _, alone = drive(small(layer=4, select_k=WINDOW + 3), rows[2:])
    assert alone is not None and alone.positions[:3].tolist() == [0, 1, 30]


def test_the_rule_sees_each_layer_alone() -> None:
    rows = [next(it) for it in [shuffled()] for _ in range(12)]
    plain, _ = drive(small(tau=1e-9), rows)
    several, _ = drive(small(tau=1e-9, score_layers=2), rows)
    assert several.relative_variance == plain.relative_variance
