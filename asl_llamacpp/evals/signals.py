"""What the attention of a layer's window tells about whether to select there: one number a layer, from its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..selection import Floats, Ints, pool, rank, rank_variance, token_scores

Series: TypeAlias = list[float | None]
"""A number by layer; None where there is none."""

SINKS = 4
"""First tokens left out of `mass` and `peak`: most heads rest on them whatever the question."""

SIGNALS = ("entropy", "mass", "peak", "overlap", "correlation")


def variances(ranks: Sequence[Ints], top: int, l_obs: int) -> Series:
    """V_l of ALGORITHM's steps 6 and 7, from the layer on that has `l_obs` rows."""
    rows: Series = [None] * len(ranks)
    for il in range(l_obs - 1, len(ranks)):
        rows[il] = rank_variance(np.stack(ranks[il - l_obs + 1 : il + 1]), top)[0]
    return rows


def relative_to_first(values: Series, l_min: int) -> Series:
    """V_l / V_{l_min} (arXiv 2601.07667), from l_min on."""
    reference = values[l_min]
    if not reference:
        return [None] * len(values)
    return [None if il < l_min or value is None else value / reference for il, value in enumerate(values)]


def relative_to_peak(values: Series, l_min: int) -> Series:
    """V_l / max(V_j, l_min <= j <= l): equal to the paper's wherever V falls from l_min on."""
    found: Series = [None] * len(values)
    peak = 0.0
    for il in range(l_min, len(values)):
        value = values[il]
        if value is not None:
            peak = max(peak, value)
            found[il] = value / peak if peak else 1.0
    return found


def signals(sums: Sequence[Floats], window: int, kernel: int, top: int) -> dict[str, Series]:
    """The signals of every layer but V.

    With s the token scores (`token_scores`, sum over H heads of w queries' attention, pooled), p = s / sum(s):

    entropy      -sum(p log p) / log(n - w), 1: all past tokens alike
    mass         share of all attention that goes to the past, without the first `SINKS` tokens
    peak         the largest score / (H w), without them
    overlap      of the `top` best tokens with those of the layer before: |A & B| / |A | B|
    correlation  Spearman's, of the ranks with those of the layer before
    """
    found: dict[str, Series] = {name: [] for name in SIGNALS}
    before: Ints | None = None
    for layer in sums:
        scores = token_scores(layer, window, kernel).astype(np.float64)
        share = scores / max(scores.sum(), 1e-30)
        attention = layer.shape[0] * window
        found["entropy"].append(float(-(share * np.log(np.maximum(share, 1e-30))).sum() / np.log(len(scores))))
        found["mass"].append(float(layer[:, SINKS : len(scores)].sum(dtype=np.float64)) / attention)
        found["peak"].append(float(scores[SINKS:].max()) / attention)
        ranks = rank(scores.astype(np.float32))
        found["overlap"].append(None if before is None else overlap(before, ranks, top))
        found["correlation"].append(None if before is None else correlation(before, ranks))
        before = ranks
    return found


def overlap(a: Ints, b: Ints, top: int) -> float:
    """Jaccard index of the `top` best of two rankings."""
    either = int(((a <= top) | (b <= top)).sum())
    return float(((a <= top) & (b <= top)).sum() / either) if either else 1.0


def correlation(a: Ints, b: Ints) -> float:
    """Spearman's rank correlation of two rankings without ties: 1 - 6 sum(d^2) / (n (n^2 - 1))."""
    n = len(a)
    squares = float(((a - b).astype(np.float64) ** 2).sum())
    return 1 - 6 * squares / (n * (n * n - 1)) if n > 1 else 1.0


COMBINED = ("sum", "max", "max4")


def combined(sums: Sequence[Floats], window: int, kernel: int, how: str) -> NDArray[np.float32]:
    """Token scores of the last of some layers, by how heads and layers are put together.

    "sum": over heads (the paper); "max": over heads; "max4": over heads and the last 4 layers.
    """
    if how == "sum":
        return token_scores(sums[-1], window, kernel)
    layers = sums[-4:] if how == "max4" else sums[-1:]
    n_past = sums[-1].shape[1] - window
    best: NDArray[np.float32] = np.max([pool(layer[:, :n_past], kernel).max(axis=0) for layer in layers], axis=0)
    return best
