"""What the attention of a layer's window tells about whether to select there: one number a layer, from its scores."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from ..policies import AllHeads
from ..selection.arrays import Floats, Ints
from ..selection.ranks import rank, rank_variance
from ..selection.scores import token_scores

Series: TypeAlias = list[float | None]
"""A number by layer; None where there is none."""

SINKS = 4
"""First tokens left out of `mass` and `peak`: most heads rest on them whatever the question."""

SIGNALS = ("entropy", "mass", "peak", "overlap", "correlation")


def variances(ranks: Sequence[Ints | None], top: int, l_obs: int) -> Series:
    """V_l of ALGORITHM's steps 6 and 7, from the layer on that has `l_obs` rows; None: a layer without scores.

    Where some layers have none, two rows are enough, as they are to `Selector`.
    """
    least = l_obs if all(row is not None for row in ranks) else 2
    found: Series = []
    rows: deque[Ints] = deque(maxlen=l_obs)
    for row in ranks:
        if row is not None:
            rows.append(row)
        found.append(rank_variance(rows, top)[0] if row is not None and len(rows) >= least else None)
    return found


def relative_to_first(values: Series, l_min: int) -> Series:
    """V_l / V_{l_min} (arXiv 2601.07667), from l_min on, or from the first layer after it that has a V."""
    return _relative(values, l_min, peak=False)


def relative_to_peak(values: Series, l_min: int) -> Series:
    """V_l / max(V_j, l_min <= j <= l): equal to the paper's wherever V falls from l_min on."""
    return _relative(values, l_min, peak=True)


def _relative(values: Series, l_min: int, peak: bool) -> Series:
    """1.0 at first; where the reference is 0, all ranks agree: 0.0 from the next one on, as in `Selector`."""
    found: Series = [None] * len(values)
    reference: float | None = None
    for il in range(l_min, len(values)):
        value = values[il]
        if value is None:
            continue
        is_first, reference = reference is None, value if reference is None else reference
        if peak:
            reference = max(reference, value)
        found[il] = value / reference if reference else float(is_first)
    return found


def signals(sums: Sequence[Floats | None], window: int, kernel: int, top: int) -> dict[str, Series]:
    """The signals of every layer but V; None where a layer has no scores.

    With s the token scores (`token_scores`, sum over H heads of w queries' attention, pooled), p = s / sum(s):

    entropy      -sum(p log p) / log(n - w), 1: all past tokens alike
    mass         share of all attention that goes to the past, without the first `SINKS` tokens
    peak         the largest score / (H w), without them
    overlap      of the `top` best tokens with those of the layer with scores before it: |A & B| / |A | B|
    correlation  Spearman's, of the ranks with those of that layer
    """
    found: dict[str, Series] = {name: [None] * len(sums) for name in SIGNALS}
    before: Ints | None = None
    for il, layer in enumerate(sums):
        if layer is None:
            continue
        scores = token_scores(layer, window, kernel).astype(np.float64)
        share = scores / max(scores.sum(), 1e-30)
        attention = layer.shape[0] * window
        found["entropy"][il] = float(-(share * np.log(np.maximum(share, 1e-30))).sum() / np.log(len(scores)))
        found["mass"][il] = float(layer[:, SINKS : len(scores)].sum(dtype=np.float64)) / attention
        found["peak"][il] = float(scores[SINKS:].max()) / attention
        ranks = rank(scores.astype(np.float32))
        if before is not None:
            found["overlap"][il] = overlap(before, ranks, top)
            found["correlation"][il] = correlation(before, ranks)
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


COMBINED: dict[str, tuple[AllHeads, int]] = {
    "sum": ("sum", 1),
    "max": ("max", 1),
    "sum4": ("sum", 4),
    "max4": ("max", 4),
}
"""Ways to combine scores, as `ASL.heads` and `ASL.score_layers` say; the first one is the paper's."""


def combined(sums: Sequence[Floats | None], window: int, kernel: int, how: str) -> Floats:
    """Token scores of the last of some layers, by a way of `COMBINED`; layers without scores are left out."""
    heads, n_layers = COMBINED[how]
    scored = [layer for layer in sums if layer is not None][-n_layers:]
    best: Floats = np.max([token_scores(layer, window, kernel, heads) for layer in scored], axis=0)
    return best
