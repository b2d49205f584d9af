"""Who decides during a prefill: a policy's selector, shown the layers in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ..engine.kinds import EACH_HEAD, Reduction
from .arrays import Floats
from .ranks import Choose, selected_positions
from .rule import Decision


class Deciding(Protocol):
    """What a prefill asks of a selector; see `selection.Selector`."""

    prunes: bool
    decision: Decision | None
    relative_variance: dict[int, float]

    @property
    def first_scored_layer(self) -> int | None: ...
    @property
    def surely_decides(self) -> bool: ...
    @property
    def reason(self) -> str: ...
    def next_decision_layer(self, layer: int) -> int: ...
    def needs_scores(self, layer: int) -> bool: ...
    def reduction(self, layer: int) -> Reduction:
        """What the device may make of a layer's window scores, before `observe` is given them."""
        ...

    def observe(
        self, layer: int, window_sums: Floats | None = None, neutral: Floats | None = None
    ) -> Decision | None: ...
    def acted(self) -> None:
        """The decision was acted on: whoever will decide again forgets it."""
        ...


class NoSelection:
    """No token is ever dropped (SnapKV compresses layers instead)."""

    prunes = False
    surely_decides = False
    first_scored_layer: int | None = None

    def __init__(self, reason: str = "the policy selects no tokens") -> None:
        self.reason = reason
        self.decision: Decision | None = None
        self.relative_variance: dict[int, float] = {}

    def next_decision_layer(self, layer: int) -> int:
        return layer

    def needs_scores(self, layer: int) -> bool:
        return False

    def reduction(self, layer: int) -> Reduction:
        return EACH_HEAD

    def acted(self) -> None:
        """It never decides."""

    def observe(self, layer: int, window_sums: Floats | None = None, neutral: Floats | None = None) -> Decision | None:
        return None


class OneLayer:
    """Selects after one layer, in any case.

    Args:
        layer: it has full attention, or the nearest such layer before it is taken, or else the first one.
        select_k: tokens to keep, the window included; a prompt of at most so many stays whole.
        n_tokens: the prompt's length.
        scored: the layers that give scores, in order.
        score: makes of a layer's window sums the scores of the past tokens, float32 [n_tokens - window]: the best are
            kept.
        reduction: what window sums are: each head's softmax attention, summed over the last queries, float32
            [n_head, n_tokens]; or what the device may make of that.
        choose: makes the set of the scores.
    """

    surely_decides = True

    def __init__(
        self,
        layer: int,
        select_k: int,
        n_tokens: int,
        scored: Sequence[int],
        score: Callable[[Floats], Floats],
        reduction: Reduction = EACH_HEAD,
        choose: Choose = selected_positions,
    ) -> None:
        self.given, self.select_k, self.n_tokens = layer, select_k, n_tokens
        self.score, self.choose = score, choose
        self._reduction = reduction
        self.prunes = n_tokens > select_k and bool(scored)
        self.decision: Decision | None = None
        self.relative_variance: dict[int, float] = {}
        before = [il for il in scored if il <= layer]
        self.layer = before[-1] if before else scored[0] if scored else layer

    @property
    def first_scored_layer(self) -> int | None:
        return self.layer

    def next_decision_layer(self, layer: int) -> int:
        return max(layer, self.layer)

    @property
    def reason(self) -> str:
        if self.decision:
            return self.decision.reason
        if self.n_tokens <= self.select_k:
            return f"the prompt's {self.n_tokens} tokens fit select_k={self.select_k}"
        return "no layer gives scores"

    def needs_scores(self, layer: int) -> bool:
        return self.prunes and layer == self.layer and self.decision is None

    def reduction(self, layer: int) -> Reduction:
        return self._reduction

    def acted(self) -> None:
        """It decides once."""

    def observe(self, layer: int, window_sums: Floats | None = None, neutral: Floats | None = None) -> Decision | None:
        if not self.needs_scores(layer):
            return None
        if window_sums is None or window_sums.ndim != 2 or window_sums.shape[1] != self.n_tokens:
            raise ValueError(f"the scores of layer {layer} are needed: [n_head, {self.n_tokens}]")
        scores = self.score(window_sums)
        if not np.isfinite(scores).all():
            raise ValueError(f"the scores of layer {layer} are not finite: its attention overflowed")
        window = self.n_tokens - len(scores)
        positions = self.choose(scores, self.select_k - window, window)
        self.decision = Decision(layer, positions, f"fixed by layer={self.given}", forced=True, scores=scores)
        return self.decision
