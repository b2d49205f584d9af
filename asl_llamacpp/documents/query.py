"""A question about a document, and the tokens of its prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .chat_prompt import document_tokens, frame


@dataclass(frozen=True)
class Query:
    """`question` about `document`, to be answered in at most `max_tokens` tokens; temperature 0 is greedy."""

    document: str
    question: str
    max_tokens: int = 256
    temperature: float = 0.0

    def __post_init__(self) -> None:
        if not self.question.strip():
            raise ValueError("the question is empty")


def prompt_tokens(llm: Any, query: Query) -> list[int]:
    """The tokens that `Document.ask` will evaluate."""
    around = frame(llm, query.question)
    return [*around.head(llm), *document_tokens(llm, query.document), *around.tail(llm)]
