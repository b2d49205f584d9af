"""Ranks of the past tokens, their variance over layers, and the best ones (arXiv 2601.07667, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from .arrays import Floats, Ints

Choose: TypeAlias = Callable[[Floats, int, int], Ints]
"""Of the past tokens' scores, float32 [n_past], how many to keep, and the window: the positions kept, int32, sorted."""


def rank(scores: Floats) -> Ints:
    """int32 [n_past]: 1 for the largest of finite scores; of equal ones the lower position comes first.

    Score and position are sorted as one integer, so that no two are equal: numpy sorts plain integers many times
    faster than it sorts stably.
    """
    bits = np.add(scores, 0, dtype=np.float32).view(np.int32)  # -0.0 becomes 0.0, its equal
    descending = ~np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)
    keys = descending.astype(np.int64) << 32 | np.arange(len(scores))
    keys.sort()
    ranks = np.empty(len(scores), dtype=np.int32)
    ranks[keys & 0xFFFFFFFF] = np.arange(1, len(scores) + 1, dtype=np.int32)
    return ranks


def rank_variance(rows: Sequence[Ints], top: int) -> tuple[float, int]:
    """Variance of the ranks over layers, and the size of the union of positions that it averages over.

    `rows`: the ranks at R layers, integers [n_past] each. The union holds every position among the `top` best of
    any row; the variance is the mean over the union of each position's population variance over rows.
    """
    among_best = np.zeros(len(rows[0]), dtype=np.bool_)
    for row in rows:
        among_best |= row <= top
    union = np.flatnonzero(among_best)
    ranks = np.stack([row[union] for row in rows])
    return (float(ranks.var(axis=0, dtype=np.float64).mean()) if union.size else 0.0), union.size


def best(scores: Floats, count: int) -> Ints:
    """Indices of the `count` largest of `scores`, float32 [m], in increasing order; of equal ones the lower come first.

    A partition, where the order among them does not matter.
    """
    if count <= 0:
        return np.empty(0, dtype=np.int32)
    if count >= len(scores):
        return np.arange(len(scores), dtype=np.int32)
    threshold = np.partition(scores, len(scores) - count)[len(scores) - count]
    above = np.flatnonzero(scores > threshold)
    equal = np.flatnonzero(scores == threshold)[: count - len(above)]
    return np.sort(np.concatenate([above, equal])).astype(np.int32)


def selected_positions(scores: Floats, top: int, window: int) -> Ints:
    """Positions kept, int32, sorted: the `top` best of the past by `scores`, and the `window` tokens after it."""
    n_past = len(scores)
    return np.concatenate([best(scores, top), np.arange(n_past, n_past + window, dtype=np.int32)])
