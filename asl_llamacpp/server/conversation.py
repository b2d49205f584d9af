"""The messages of a chat about documents, as a question and the turns before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..documents.turns import Turn
from .errors import APIError
from .requests import Message

ONLY_FROM_DOCUMENT = (
    "Answer only from the document above. If the document does not say it, answer exactly: The document does not say."
)


@dataclass(frozen=True)
class Conversation:
    """The last question with what the system says, and the turns before it."""

    question: str
    history: list[Turn]


def conversation(messages: Sequence[Message], only_from_document: bool = False) -> Conversation:
    """A chat's messages, for `Document.ask`.

    What the system says stands before the last question, behind the documents: their state then serves every such text.

    Raises APIError for messages of other kinds, or in an order that no conversation has.
    """
    system = [_text(message, i) for i, message in enumerate(messages) if message.role in ("system", "developer")]
    turns: list[tuple[list[str], list[str]]] = []
    for i, message in enumerate(messages):
        if message.role == "user":
            if not turns or turns[-1][1]:
                turns.append(([], []))
            turns[-1][0].append(_text(message, i))
        elif message.role == "assistant":
            if not turns:
                raise _wrong(i, "an answer has no question before it")
            turns[-1][1].append(_text(message, i))
        elif message.role not in ("system", "developer"):
            raise _wrong(i, f"a message of role {message.role!r} cannot stand in a chat about documents")
    if not turns or turns[-1][1]:
        raise _wrong(len(messages) - 1, "the last message must be the user's question")
    *before, (asked, _) = turns
    question = "\n\n".join(asked)
    if not question.strip():
        raise _wrong(len(messages) - 1, "the question is empty")
    if only_from_document:
        system.append(ONLY_FROM_DOCUMENT)
    history = [Turn("\n\n".join(questions), "\n\n".join(answers)) for questions, answers in before]
    return Conversation("\n\n".join([*filter(str.strip, system), question]), history)


def _text(message: Message, i: int) -> str:
    return message_text(message.content, i)


def message_text(content: str | list[dict[str, Any]] | None, i: int) -> str:
    """The text of a message, whose parts must all be texts."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = []
    for part in content:
        if part.get("type") not in ("text", "input_text") or not isinstance(part.get("text"), str):
            raise _wrong(i, f"parts of the type {part.get('type')!r} cannot be read: send text, or upload a document")
        parts.append(part["text"])
    return "".join(parts)


def _wrong(i: int, message: str) -> APIError:
    return APIError(400, f"messages[{i}]: {message}", param="messages")
