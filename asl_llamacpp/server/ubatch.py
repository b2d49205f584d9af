"""How small an `n_ubatch` may be where several clients share a document."""

from __future__ import annotations

from ..store.pruned_cache import PrunedCache

_LEAST_ROWS, _STEP = 64, 8
"""Of the engine: rows that attention on a CPU takes its usual kernel for, and the columns of a mask's step."""


def check_ubatch(cache: PrunedCache | None) -> None:
    """ValueError if the engine could not run a prompt's end as it runs a question behind a known document.

    Both would be rounded otherwise then, and so would the same question, by who asked what before.
    """
    if cache is None or cache.shape.has_ring:
        return
    least = 2 * (max(_LEAST_ROWS, cache.policy.window) + _STEP)
    if cache.shape.n_ubatch < least:
        raise ValueError(
            f"ubatch={cache.shape.n_ubatch} is too small for a server: give --ubatch {least} or more, so that the same "
            "question is rounded alike whatever others have asked"
        )
