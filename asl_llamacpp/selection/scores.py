"""Token scores: the window's attention, pooled over positions and combined over heads (arXiv 2601.07667, section 3)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .arrays import Floats
from .parameters import Heads


def pool(window_sums: Floats, kernel: int) -> Floats:
    """Average over `kernel` (odd) neighbouring positions of each head: float32 [n_head, n_past] to the same.

    Zeros count at the borders: the divisor is always `kernel`. Shifted slices are summed, instead of taking
    differences of a running total: in float32 a small score behind a large total would lose its digits, and
    equal neighbourhoods must give equal scores wherever they lie, for ties to be ties.
    """
    pooled = np.empty(window_sums.shape, dtype=np.float32)
    for row, out in zip(window_sums, pooled, strict=True):
        _pool_row(row, kernel, out)
    return pooled


def _pool_row(row: Floats, kernel: int, out: Floats) -> None:
    out[:] = row
    for shift in range(1, kernel // 2 + 1):
        out[shift:] += row[:-shift]
        out[:-shift] += row[shift:]
    out /= np.float32(kernel)


def _pooled_rows(window_sums: Floats, kernel: int) -> Iterator[Floats]:
    """One head after another, in the same memory: a row stays in the processor's cache, all of them would not."""
    out = np.empty(window_sums.shape[1], dtype=np.float32)
    for row in window_sums:
        _pool_row(row, kernel, out)
        yield out


def token_scores(window_sums: Floats, window: int, kernel: int, heads: Heads = "sum") -> Floats:
    """Scores of the past tokens, float32 [n - window]: pooled, then summed over the heads, or their maximum ("max").

    `window_sums`, float32 [n_head, n]: each query head's softmax attention, summed over the window's queries; for
    "sum" the heads may have been added up before, [1, n]. The window's own columns are dropped before pooling, so
    that they do not leak into their neighbours.
    """
    n_past = max(window_sums.shape[1] - window, 0)
    scores = np.full(n_past, -np.inf if heads == "max" else 0, dtype=np.float32)
    for pooled in _pooled_rows(window_sums[:, :n_past], kernel):
        if heads == "max":
            np.maximum(scores, pooled, out=scores)
        else:
            scores += pooled
    return scores
