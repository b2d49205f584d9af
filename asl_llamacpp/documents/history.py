"""How much of a conversation still fits the context, beside the document, the next question and its answer."""

from __future__ import annotations

from collections.abc import Sequence

from .document import Document
from .turns import Turn


def fit_history(document: Document, question: str, history: Sequence[Turn], max_tokens: int, n_ctx: int) -> list[Turn]:
    """`history` without its oldest turns, as many as must go to let `question` be asked; perhaps without any.

    A document longer than the context is read by sections, and shares the context with the history: half of it stays
    for the passages that are answered from.
    """
    n_document = len(document.tokens)
    taken = n_document if document.fits else n_ctx // 2
    for first in range(len(history)):
        n_around = len(document.prompt(question, history[first:])) - n_document
        if taken + n_around + max_tokens <= n_ctx:
            return list(history[first:])
    return []
