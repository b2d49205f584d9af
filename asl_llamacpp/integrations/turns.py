"""A chat of other libraries as a question about a document, and the turns before it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..documents.evidence import Span
from ..documents.turns import Turn


def as_question(messages: Iterable[tuple[str, str]]) -> tuple[str, list[Turn]]:
    """The last question, and the turns before it, of (role, text); roles are "system", "user" and "assistant".

    What the system says stands before the last question, behind the document, whose state then serves every such text.

    Raises ValueError for another role, or if the last message is no question.
    """
    system: list[str] = []
    turns: list[Turn] = []
    asked: list[str] = []
    for role, text in messages:
        if role == "system":
            system.append(text)
        elif role == "user":
            asked.append(text)
        elif role == "assistant" and asked:
            turns.append(Turn("\n\n".join(asked), text))
            asked = []
        else:
            raise ValueError(f"a message of role {role!r} cannot stand here in a chat about a document")
    if not asked:
        raise ValueError("the last message must be the user's question")
    return "\n\n".join([*system, *asked]), turns


def span_values(span: Span) -> dict[str, Any]:
    """A passage's place, for metadata."""
    return {
        "source": span.source,
        "page": span.page,
        "last_page": span.last_page,
        "label": span.label,
        "section": span.section,
        "start": span.start,
        "end": span.end,
        "score": span.score,
    }
