"""Who decides during a prefill: one selector a policy, each shown the layers in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..policies import ASL, FastKV, GemFilter, Policy
from .compression import best
from .rule import Decision, Floats, Selector, pool


class Deciding(Protocol):
    """What a prefill asks of a selector; see `selection.Selector`."""

    prunes: bool
    decision: Decision | None
    relative_variance: dict[int, float]
    earliest: int
    products: bool
    """Scores are inner products instead of softmax attention."""

    @property
    def first_scored_layer(self) -> int | None: ...
    @property
    def first_decision_layer(self) -> int: ...
    @property
    def surely_decides(self) -> bool: ...
    @property
    def reason(self) -> str: ...
    def needs_scores(self, layer: int) -> bool: ...
    def observe(self, layer: int, window_sums: Floats | None = None) -> Decision | None: ...


class NoSelection:
    """No token is ever dropped (SnapKV compresses layers instead)."""

    prunes = False
    products = False
    earliest = 0
    surely_decides = False
    first_scored_layer: int | None = None
    first_decision_layer = 0
    reason = "the policy selects no tokens"

    def __init__(self) -> None:
        self.decision: Decision | None = None
        self.relative_variance: dict[int, float] = {}

    def needs_scores(self, layer: int) -> bool:
        return False

    def observe(self, layer: int, window_sums: Floats | None = None) -> Decision | None:
        return None


class LastQuery:
    """GemFilter (arXiv 2409.17422): the tokens that the last one's query points at, at one layer.

    `layer` has full attention, or the nearest such layer before it is taken, or else the first one.
    """

    products = True
    earliest = 0
    surely_decides = True

    def __init__(self, policy: GemFilter, n_tokens: int, scored: Sequence[int]) -> None:
        if not isinstance(policy.layer, int):
            raise ValueError("the policy still says 'auto': pass policy.resolve(n_layer)")
        self.policy = policy
        self.n_tokens = n_tokens
        self.prunes = n_tokens > policy.select_k and bool(scored)
        self.decision: Decision | None = None
        self.relative_variance: dict[int, float] = {}
        before = [layer for layer in scored if layer <= policy.layer]
        self.layer = before[-1] if before else scored[0] if scored else policy.layer

    @property
    def first_scored_layer(self) -> int | None:
        return self.layer

    @property
    def first_decision_layer(self) -> int:
        return self.layer

    @property
    def reason(self) -> str:
        if self.decision:
            return self.decision.reason
        if self.n_tokens <= self.policy.select_k:
            return f"the prompt's {self.n_tokens} tokens fit select_k={self.policy.select_k}"
        return "no layer gives scores"

    def needs_scores(self, layer: int) -> bool:
        return self.prunes and layer == self.layer and self.decision is None

    def observe(self, layer: int, window_sums: Floats | None = None) -> Decision | None:
        """`window_sums`, float32 [n_head, n_tokens]: inner products of the last query with all keys."""
        if not self.needs_scores(layer):
            return None
        if window_sums is None or window_sums.ndim != 2 or window_sums.shape[1] != self.n_tokens:
            raise ValueError(f"the scores of layer {layer} are needed: [n_head, {self.n_tokens}]")
        scores = pool(window_sums, self.policy.kernel).sum(axis=0)
        if not np.isfinite(scores).all():
            raise ValueError(f"the scores of layer {layer} are not finite: its attention overflowed")
        # the last token must stay, or there would be nothing to continue from
        past = best(scores[:-1], self.policy.select_k - 1)
        positions = np.append(past, self.n_tokens - 1).astype(np.int32)
        reason = f"fixed by layer={self.policy.layer}"
        self.decision = Decision(layer, positions, reason, forced=True, scores=scores[:-1])
        return self.decision


def selector_for(policy: Policy, n_layer: int, n_tokens: int, scored: Sequence[int]) -> Deciding:
    """The selector of one prefill. `scored`: the layers that give scores, in order."""
    if isinstance(policy, ASL):
        return Selector(policy.resolve(n_layer), n_tokens, scored)
    if isinstance(policy, FastKV):
        return Selector(policy.rule(n_layer), n_tokens, scored)
    if isinstance(policy, GemFilter):
        return LastQuery(policy.resolve(n_layer), n_tokens, scored)
    return NoSelection()
