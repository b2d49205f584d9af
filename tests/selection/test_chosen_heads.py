"""Some heads choose what goes deeper, over all layers up to the selection; the rule goes on looking at all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from asl_llamacpp.engine.kinds import EACH_HEAD, LayerShape, Reduction
from asl_llamacpp.policies import ASL, ASL2Pass, FastKV, parse_policy
from asl_llamacpp.policies.answers import Prompt
from asl_llamacpp.selection.contrast import SINKS, neutral_scores
from asl_llamacpp.selection.ranks import selected_positions
from asl_llamacpp.selection.rule import Selector

N, WINDOW, KERNEL, SELECT_K, N_LAYER, N_HEAD = 60, 4, 3, 14, 12, 5
SIZES: dict[str, Any] = {"window": WINDOW, "kernel": KERNEL, "select_k": SELECT_K}
HEADS = ((3, 1), (3, 4), (7, 0))


def sums() -> NDArray[np.float32]:
    """[layer, head, token]"""
    return np.random.default_rng(5).random((N_LAYER, N_HEAD, N), dtype=np.float32)


def averaged(row: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.convolve(row[: N - WINDOW].astype(np.float64), np.ones(KERNEL) / KERNEL, "same")


def largest(rows: NDArray[np.float32], *heads: tuple[int, int]) -> NDArray[np.float64]:
    return np.max([averaged(rows[layer, head]) for layer, head in heads], axis=0)


def test_the_set_is_of_each_tokens_maximum_over_the_heads_so_far() -> None:
    rows = sums()
    for layer, heads in {3: HEADS[:2], 6: HEADS[:2], 7: HEADS, 9: HEADS}.items():
        selector = Selector(ASL(layer=layer, heads=HEADS, **SIZES).resolve(N_LAYER), N)
        assert selector.first_scored_layer == 3 and selector.next_decision_layer(3) == layer
        assert [il for il in range(N_LAYER) if selector.needs_scores(il)] == [3, 7]
        decision = None
        for il in range(layer + 1):
            decision = selector.observe(il, rows[il] if selector.needs_scores(il) else None)
        assert decision is not None
        np.testing.assert_allclose(decision.scores, largest(rows, *heads), rtol=1e-5)
        np.testing.assert_array_equal(
            decision.positions, selected_positions(decision.scores, SELECT_K - WINDOW, WINDOW)
        )


def test_the_rule_sees_the_sum_of_all_heads() -> None:
    """The same variances and the same layer as without, and another set."""
    rows, found = sums(), []
    for heads in ("sum", HEADS):
        policy = ASL(l_obs=3, l_min=4, l_max=9, tau=1e-9, heads=heads, **SIZES)  # type: ignore[arg-type]
        selector = Selector(policy.resolve(N_LAYER), N)
        decision = next(
            one
            for il in range(N_LAYER)
            if (one := selector.observe(il, rows[il] if selector.needs_scores(il) else None))
        )
        found.append((selector.variance, decision.layer, decision.positions.tolist()))
    assert found[0][:2] == found[1][:2] and found[0][2] != found[1][2]


def test_a_rule_that_fires_waits_for_the_first_chosen_head() -> None:
    rows = np.repeat(sums()[:1], N_LAYER, axis=0)  # ranks that agree at once
    for heads, layer in (("sum", 5), (((8, 2), (10, 1)), 8)):
        policy = ASL(l_obs=3, l_min=4, l_max=10, heads=heads, **SIZES)  # type: ignore[arg-type]
        selector = Selector(policy.resolve(N_LAYER), N)
        for il in range(N_LAYER):
            decision = selector.observe(il, rows[il] if selector.needs_scores(il) else None)
            assert (decision is not None) == (il == layer)
            if decision:
                break


def test_the_contrast_is_of_the_same_heads_and_spares_the_sinks() -> None:
    rows, policy = sums(), ASL(layer=8, heads=HEADS, contrast=True, **SIZES)
    other = np.random.default_rng(6).random((N_LAYER, N_HEAD, N - WINDOW), dtype=np.float32)
    selector = Selector(policy.resolve(N_LAYER), N)
    for il in range(9):
        neutral = neutral_scores(other[il], KERNEL, HEADS, 0.5, il) if il in (3, 7) else None
        decision = selector.observe(il, rows[il] if selector.needs_scores(il) else None, neutral)
    assert decision is not None
    padded = np.pad(other, ((0, 0), (0, 0), (0, WINDOW)))
    each = [largest(rows, *heads) - 0.5 * largest(padded, *heads) for heads in (HEADS[:2], HEADS[2:])]
    np.testing.assert_allclose(decision.scores[SINKS:], np.max(each, axis=0)[SINKS:], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(decision.scores[:SINKS], largest(rows, *HEADS)[:SINKS], rtol=1e-5)


def test_what_the_device_is_asked_for() -> None:
    prompt = Prompt(N, N_LAYER, range(N_LAYER))
    selector = FastKV(layer=8, heads=HEADS, **SIZES).selector(prompt)
    assert selector.reduction(3) == Reduction("max", KERNEL, (1, 4)) and selector.reduction(7).heads == (0,)
    ruled = ASL(l_obs=3, l_min=8, l_max=9, heads=HEADS, **SIZES).selector(prompt)
    assert [il for il in range(N_LAYER) if ruled.needs_scores(il)] == [3, 6, 7, 8, 9, 10, 11]
    assert ruled.reduction(3) == Reduction("max", KERNEL, (1, 4))  # before the rule looks
    assert ruled.reduction(7) == EACH_HEAD and ruled.reduction(8) == Reduction("sum")


SHAPES = [LayerShape(N_HEAD, 1, 8, 8, 4 if il == 5 else 0) for il in range(N_LAYER)]
WRONG: dict[str, tuple[str, str]] = {
    "beyond the layers": ("asl:heads=12.0", "layer=12: lower it"),
    "beyond the heads": ("fastkv:heads=3.5", "layer 3 has the heads 0 to 4, not 5"),
    "without scores": ("asl-2pass:heads=3.1+5.1", "layer 5 gives no scores"),
}


@pytest.mark.parametrize(("spec", "told"), WRONG.values(), ids=WRONG)
def test_heads_that_a_model_has_not(spec: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_policy(spec).check_heads(SHAPES)
    parse_policy("asl:heads=3.1+11.4").check_heads(SHAPES)
    with pytest.raises(ValueError, match="layer 5 gives no scores"):
        ASL(heads=[(5, 1)], layer=7, **SIZES).selector(Prompt(N, N_LAYER, [0, 3, 7]))  # type: ignore[arg-type]


BAD = {
    "asl:heads=14.3+14.3": "head 3 of layer 14 twice",
    "asl:heads=14": "as 14.3\\+18.5",
    "asl:heads=14.x": "as 14.3\\+18.5",
    "asl:heads=all": "'sum' or 'max', not 'all'; or some heads",
    "asl:heads=14.3,layer=2": "layer=2 lies before the first",
    "asl:heads=14.3,l_max=12,l_min=10": "l_max=12 lies before the first",
    "fastkv:heads=14.3,layer=2": "layer=2 lies before the first",
    "asl:heads=14.3,score_layers=4": "score_layers=4 says nothing",
}


@pytest.mark.parametrize(("spec", "told"), BAD.items())
def test_bad_heads_are_refused(spec: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_policy(spec)


def test_heads_in_text_and_as_objects() -> None:
    policy = parse_policy("asl-2pass:heads=14.10+3.2")
    assert policy == ASL2Pass(heads=[(14, 10), (np.int64(3), 2)])  # type: ignore[arg-type, list-item]
    assert str(policy) == "asl-2pass:heads=3.2+14.10" and parse_policy(str(policy)) == policy
    assert hash(policy) == hash(parse_policy(str(policy)))
    assert FastKV(heads=((3, 1), (8, 0))).resolve(N_LAYER).layer == 8
    assert ASL(heads=((28, 1),)).resolve(30).l_max == 28
    for wrong in ([], [(1,)], [("a", 1)], [(1, -1)], [3], 3, None):
        with pytest.raises((ValueError, TypeError), match="heads"):
            ASL(heads=wrong)  # type: ignore[arg-type]


def test_a_budget_selects_no_earlier_than_the_first_head() -> None:
    policy = ASL(heads=((15, 1), (20, 1)), select_k=256).resolve(30)
    choices = list(policy.earlier(Prompt(2000, 30, range(30))))
    assert [choice.forced_layer for choice in choices] == list(range(21, 14, -1))
