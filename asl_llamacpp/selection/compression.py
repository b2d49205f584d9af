"""The maths of SnapKV (arXiv 2404.14469): which KV cells each KV head of a layer keeps. Pure numpy, no I/O."""

from __future__ import annotations

import numpy as np

from .arrays import Floats, Ints
from .ranks import best
from .scores import pool


def kept_cells(window_sums: Floats, n_head_kv: int, budget: int, window: int, kernel: int) -> Ints:
    """Cells that each KV head keeps, int32 [n_head_kv, budget], each row sorted and ending with the window's.

    `window_sums`, float32 [n_head, m]: each query head's softmax attention, summed over the window's queries. The
    pooled scores of the n_head / n_head_kv query heads that share a KV head are added up.
    """
    n_head, m = window_sums.shape
    n_past = m - window
    pooled = pool(window_sums[:, :n_past], kernel)
    groups = pooled.reshape(n_head_kv, n_head // n_head_kv, n_past).sum(axis=1)
    recent = np.arange(n_past, m, dtype=np.int32)
    return np.stack([np.concatenate([best(scores, budget - window), recent]) for scores in groups])


def window_cells(n_head_kv: int, m: int, window: int) -> Ints:
    """The window's cells alone, int32 [n_head_kv, window]."""
    return np.tile(np.arange(m - window, m, dtype=np.int32), (n_head_kv, 1))
