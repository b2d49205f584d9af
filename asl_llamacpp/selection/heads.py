"""Chosen heads: which rows of a layer they are, and what a layer's rows make of the scores of its tokens."""

from __future__ import annotations

from functools import lru_cache

from .arrays import Floats
from .parameters import ChosenHeads, Heads
from .scores import token_scores


@lru_cache(maxsize=64)
def by_layer(heads: ChosenHeads) -> dict[int, tuple[int, ...]]:
    """The chosen heads of each layer that has some, layers and heads in order. Not to be changed."""
    layers: dict[int, list[int]] = {}
    for layer, head in heads:
        layers.setdefault(layer, []).append(head)
    return {layer: tuple(found) for layer, found in layers.items()}


def has_say(heads: Heads, layer: int) -> bool:
    """Whether the set is chosen by `layer` too, where it is scored: by all heads, or by some that were chosen there."""
    return isinstance(heads, str) or layer in by_layer(heads)


def set_scores(sums: Floats, window: int, kernel: int, heads: Heads, layer: int) -> Floats:
    """The scores that the set is chosen by, of one layer that has a say: float32 [n - window].

    `sums`: float32 [n_head, n] as `token_scores` takes it, or [n - window], pooled and combined already. Of chosen
    heads each token has its maximum.
    """
    if sums.ndim == 1:
        return sums
    if isinstance(heads, str):
        return token_scores(sums, window, kernel, heads)
    return token_scores(sums[list(by_layer(heads)[layer])], window, kernel, "max")
