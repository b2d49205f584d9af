"""Which units are kept: each as good as its best tokens, taken whole as long as there is room."""

from __future__ import annotations

import numpy as np

from .arrays import Floats, Ints
from .ranks import rank

BEST = 8
"""Tokens that speak for their unit: one may be an accident, and a sentence tells most in a few of its words."""


def unit_scores(scores: Floats, starts: Ints, best: int = BEST) -> Floats:
    """Mean of the `best` largest scores of each unit: float32 [n_units].

    What a shorter unit lacks counts as the lowest score of all, so that a few words do not outdo a sentence.

    scores: float32 [n], finite
    starts: int32 [n_units], the token that each unit begins with; the first is 0, all are below n
    """
    n = len(scores)
    lengths = np.diff(np.append(starts, n))
    keys = np.repeat(np.arange(len(starts), dtype=np.int64) << 32, lengths) | rank(scores)
    keys.sort()
    descending = np.sort(scores)[::-1]
    places = starts[:, np.newaxis] + np.arange(best)
    there = np.arange(best) < lengths[:, np.newaxis]
    ranks = keys[np.where(there, places, 0)] & 0xFFFFFFFF
    means: Floats = np.where(there, descending[ranks - 1], descending[-1]).mean(axis=1, dtype=np.float32)
    return means


def best_units(scores: Floats, starts: Ints, count: int) -> Ints:
    """`count` positions of the best units, int32, sorted: whole units, but perhaps the last one that is taken.

    Of that one the neighbouring tokens with the largest sum stay. Of equal units the first one is taken, and of equal
    parts too. All positions if `count` is not smaller.
    """
    n = len(scores)
    if count <= 0:
        return np.empty(0, dtype=np.int32)
    if count >= n:
        return np.arange(n, dtype=np.int32)
    lengths = np.diff(np.append(starts, n))
    order = np.argsort(rank(unit_scores(scores, starts)))
    taken = lengths[order].cumsum()
    n_whole = int(np.searchsorted(taken, count, side="right"))
    whole = np.zeros(len(starts), dtype=np.bool_)
    whole[order[:n_whole]] = True
    kept = np.repeat(whole, lengths)
    room = count - (int(taken[n_whole - 1]) if n_whole else 0)
    if room:
        last = int(order[n_whole])
        part = scores[starts[last] : starts[last] + lengths[last]]
        sums = np.lib.stride_tricks.sliding_window_view(part, room).sum(axis=1, dtype=np.float64)
        begin = int(starts[last]) + int(sums.argmax())
        kept[begin : begin + room] = True
    return np.flatnonzero(kept).astype(np.int32)


def selected_units(scores: Floats, top: int, window: int, starts: Ints) -> Ints:
    """Positions kept, int32, sorted: `top` of the past, unit by unit, and the `window` tokens after it.

    As `ranks.selected_positions`; `starts` are those of the whole prompt: the last unit of the past ends with it.
    """
    n_past = len(scores)
    past = best_units(scores, starts[starts < n_past], top)
    return np.concatenate([past, np.arange(n_past, n_past + window, dtype=np.int32)])
