"""Token scores: the window's attention, pooled over positions and combined over heads (arXiv 2601.07667, section 3)."""

from __future__ import annotations

import numpy as np

from .arrays import Floats
from .parameters import AllHeads


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
    """From left to right, as ggml pools: what the device has pooled and what is pooled here are the same numbers."""
    reach = min(kernel // 2, len(row) - 1)
    out[:] = 0
    for shift in range(-reach, reach + 1):
        before, after = max(-shift, 0), max(shift, 0)
        out[before : len(row) - after] += row[after : len(row) - before]
    out /= np.float32(kernel)


def add_heads(window_sums: Floats) -> Floats:
    """The sum of the rows, float32 [n_head, n] to [1, n], by adding halves: so rounded as on the device."""
    rows, odd = window_sums, None
    while len(rows) > 1:
        half = len(rows) // 2
        if len(rows) % 2:
            odd = rows[-1:] if odd is None else odd + rows[-1:]
        rows = rows[:half] + rows[half : 2 * half]
    return rows if odd is None else rows + odd


def token_scores(window_sums: Floats, window: int, kernel: int, heads: AllHeads = "sum") -> Floats:
    """Scores of the past tokens, float32 [n - window]: pooled, then summed over the heads, or their maximum ("max").

    `window_sums`, float32 [n_head, n]: each query head's softmax attention, summed over the window's queries; for
    "sum" the heads may have been added up before, [1, n]. The window's own columns are dropped before pooling, so
    that they do not leak into their neighbours. Pooling is linear: of a sum it is done once.
    """
    n_past = max(window_sums.shape[1] - window, 0)
    past = window_sums[:, :n_past]
    if heads == "sum":
        summed: Floats = pool(add_heads(past), kernel)[0]
        return summed
    scores = np.full(n_past, -np.inf, dtype=np.float32)
    out = np.empty(n_past, dtype=np.float32)
    for row in past:  # in the same memory: a row stays in the processor's cache, all of them would not
        _pool_row(row, kernel, out)
        np.maximum(scores, out, out=scores)
    return scores
