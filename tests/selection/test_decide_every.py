"""decide_every: the rule sees every layer, and is acted on after some of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asl_llamacpp.policies import ASL
from asl_llamacpp.policies.answers import Prompt
from asl_llamacpp.selection.ranks import selected_positions
from asl_llamacpp.selection.rule import Decision, Selector

N_TOKENS, N_LAYER, WINDOW, K = 40, 12, 4, 10
PAUSES = {1: [2, 3, 4, 5, 6, 7, 8], 2: [2, 4, 6, 8], 3: [2, 5, 8], 4: [2, 6, 8], 9: [2, 8]}


def made(**values: Any) -> ASL:
    return ASL(**{"l_obs": 2, "l_min": 2, "l_max": 8, "window": WINDOW, "kernel": 1, "select_k": K, **values})


def drive(policy: ASL, sums: NDArray[np.float32], scored: list[int]) -> tuple[Selector, Decision | None]:
    selector = policy.selector(Prompt(N_TOKENS, N_LAYER, scored))
    for layer in range(N_LAYER):
        decision = selector.observe(layer, sums[layer][np.newaxis] if selector.needs_scores(layer) else None)
        if decision:
            return selector, decision
    return selector, None


@pytest.mark.parametrize(("every", "pauses"), PAUSES.items())
def test_layers_between_two_decisions_run_together(every: int, pauses: list[int]) -> None:
    selector = Selector(made(decide_every=every), N_TOKENS)
    assert [selector.next_decision_layer(0), *(selector.next_decision_layer(at + 1) for at in pauses[:-1])] == pauses
    for before, at in pairwise(pauses):
        assert {selector.next_decision_layer(layer) for layer in range(before + 1, at + 1)} == {at}
    assert [selector.next_decision_layer(layer) for layer in (9, 10, 11)] == [9, 10, 11]  # where l_max gave no scores


def test_a_rule_without_a_limit_is_acted_on_after_the_last_layer() -> None:
    selector = made(l_max=None, decide_every=4).selector(Prompt(N_TOKENS, N_LAYER, range(N_LAYER)))
    assert [selector.next_decision_layer(layer) for layer in (0, 3, 6, 7, 10, 11)] == [2, 6, 6, 10, 10, 11]


@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.05, 3),
    st.sampled_from(list(PAUSES)),
    st.sampled_from([None, 8]),
    st.sets(st.integers(0, N_LAYER - 1), min_size=6),
)
def test_the_selection_comes_with_the_next_pause(
    seed: int, tau: float, every: int, l_max: int | None, scored: set[int]
) -> None:
    """The rule's own numbers are what they are without; the set is by the scores of where it comes."""
    sums = np.random.default_rng(seed).random((N_LAYER, N_TOKENS), dtype=np.float32)
    one, first = drive(made(tau=tau, l_max=l_max), sums, sorted(scored))
    several, later = drive(made(tau=tau, l_max=l_max, decide_every=every), sums, sorted(scored))
    for layer, relative in one.relative_variance.items():
        assert several.relative_variance[layer] == relative
    if first is None:
        assert later is None
        return
    assert later is not None and later.forced == first.forced
    assert later.layer == several.next_decision_layer(first.layer)
    if later.layer != first.layer:
        assert later.reason == f"{first.reason} at layer {first.layer}"
    source = max(layer for layer in scored if layer <= later.layer)
    np.testing.assert_array_equal(later.positions, selected_positions(sums[source][:-WINDOW], K - WINDOW, WINDOW))
