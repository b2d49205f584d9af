"""What a question adds to the attention that any other would pay: see in-context re-ranking (arXiv 2410.02642)."""

from __future__ import annotations

import numpy as np

from .arrays import Floats
from .heads import set_scores
from .parameters import Heads

SINKS = 4
"""The first tokens are looked at whatever is asked, and a model that cannot look there says nothing sensible
(StreamingLLM, arXiv 2309.17453): they keep their scores."""


def neutral_scores(sums: Floats, kernel: int, heads: Heads, share: float, layer: int = 0) -> Floats:
    """Scores of the tokens that the contrast follows, float32 [n_seen], comparable with those of the window.

    sums    float32 [n_head, n_seen] or [1, n_seen] as `token_scores` takes it; or [n_seen], pooled and combined already
    share   the window's queries for each of the contrast's
    layer   whose these are, where heads are chosen
    """
    return set_scores(sums, 0, kernel, heads, layer) * np.float32(share)


def less(scores: Floats, neutral: Floats) -> Floats:
    """`scores`, float32 [n_past], less the neutral ones of those tokens that have some; the sinks' as they are."""
    differences = scores.copy()
    n = min(len(scores), len(neutral))
    differences[SINKS:n] -= neutral[SINKS:n]
    return differences
