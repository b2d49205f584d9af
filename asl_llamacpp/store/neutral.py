"""Where in a prompt a turn that asks nothing is put: behind its document, or else in the place of its last tokens."""

from __future__ import annotations

from collections.abc import Sequence

from ..budget.kv_shape import KVShape
from ..prefill.contrast import Contrast, Found


def contrast_behind(
    n_document: int | None,
    n_tokens: int,
    window: int,
    neutral: Sequence[int],
    shape: KVShape,
    found: Found,
) -> Contrast | None:
    """The contrast of a prompt; None where the context has no room behind the prompt for `neutral`.

    Args:
        n_document: tokens of the document that the prompt begins with; None: it has none.
        n_tokens: of the prompt.
        window: of the policy.
        neutral: the turn that asks nothing.
        shape: of the KV cache. A ring of cells has forgotten the end of a document when a ubatch has followed it.
        found: see `Contrast`; of the turn behind the document alone, for others are other for each question.
    """
    n_past = n_tokens - window
    n_seen = n_past if n_document is None else n_document
    if shape.has_ring and n_tokens - n_seen + len(neutral) > shape.n_ubatch:
        n_seen = n_past
        if window + len(neutral) > shape.n_ubatch:
            return None
    if not neutral or n_seen < 1 or n_tokens + len(neutral) > shape.n_ctx:
        return None
    return Contrast(n_seen, neutral, found if n_seen == n_document else {})
