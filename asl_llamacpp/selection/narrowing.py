"""Fewer and fewer tokens from layer to layer, each time the best of those that are left."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..engine.kinds import Reduction
from .arrays import Floats, Ints
from .ranks import selected_positions
from .rule import Decision
from .scores import token_scores


class Narrowing:
    """Selects after several layers, in any case.

    Args:
        counts: by layer, all of which give scores: the tokens that go on after it, the window included.
        n_tokens: the prompt's length.
        window, kernel: of the policy.
    """

    def __init__(self, counts: Mapping[int, int], n_tokens: int, window: int, kernel: int) -> None:
        self.counts = {il: count for il, count in sorted(counts.items()) if count < n_tokens}
        self.n_tokens, self.window, self.kernel = n_tokens, window, kernel
        self.prunes = self.surely_decides = bool(self.counts)
        self.decision: Decision | None = None
        self.relative_variance: dict[int, float] = {}
        self._left = np.arange(n_tokens, dtype=np.int32)
        self._layer = -1

    @property
    def first_scored_layer(self) -> int | None:
        return min(self.counts, default=None)

    def next_decision_layer(self, layer: int) -> int:
        return next((il for il in self.counts if il >= layer), max(layer, *self.counts))

    @property
    def reason(self) -> str:
        if not self.prunes:
            return f"the prompt's {self.n_tokens} tokens are not too many, or no layer gives scores"
        first, least = min(self.counts), min(self.counts.values())
        return f"narrowed from {self.n_tokens} to {least} tokens, after {len(self.counts)} layers from {first} on"

    def needs_scores(self, layer: int) -> bool:
        return self.decision is None and layer in self.counts and layer > self._layer

    def reduction(self, layer: int) -> Reduction:
        return Reduction("sum")

    def observe(self, layer: int, window_sums: Floats | None = None, neutral: Floats | None = None) -> Decision | None:
        if not self.needs_scores(layer):
            return None
        n_left = len(self._left)
        if window_sums is None or window_sums.ndim != 2 or window_sums.shape[1] != n_left:
            raise ValueError(f"the scores of layer {layer} are needed: [n_head, {n_left}]")
        scores = token_scores(window_sums, self.window, self.kernel)
        if not np.isfinite(scores).all():
            raise ValueError(f"the scores of layer {layer} are not finite: its attention overflowed")
        kept: Ints = selected_positions(scores, min(self.counts[layer], n_left) - self.window, self.window)
        self._left, self._layer = self._left[kept], layer
        self.decision = Decision(layer, self._left, self.reason, forced=True, scores=scores)
        return self.decision

    def acted(self) -> None:
        """Of the tokens that are left the next layer chooses again."""
        if any(il > self._layer for il in self.counts):
            self.decision = None
