"""What was said before, as `Turn`s or as OpenAI's messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from .reasoning import without_reasoning


@dataclass(frozen=True)
class Turn:
    """A question that was asked before, and its answer."""

    question: str
    answer: str


History: TypeAlias = Iterable["Turn | Mapping[str, Any]"]
"""Turns; or messages, each with a role, "user" or "assistant" in turn, and a text as content."""


def turns_of(history: History) -> list[Turn]:
    """The turns of a history; what a model thought before an answer is left out, as chat templates do.

    Raises:
        ValueError: a message of another role, one that is no text, or questions and answers that do not take turns.
    """
    turns: list[Turn] = []
    asked: str | None = None
    for i, said in enumerate(history):
        if not isinstance(said, Mapping):
            turns.append(Turn(str(said.question), without_reasoning(str(said.answer))))
            continue
        role, text = said.get("role"), said.get("content")
        if role != ("user" if asked is None else "assistant"):
            hint = "; a system prompt goes into read(system=...)" if role == "system" else ""
            expected = "a question (user)" if asked is None else "its answer (assistant)"
            raise ValueError(f"history[{i}]: {expected} is expected, not a message of role {role!r}{hint}")
        if not isinstance(text, str):
            raise ValueError(f"history[{i}]: its content must be a text, not {type(text).__name__}")
        if asked is None:
            asked = text
        else:
            turns.append(Turn(asked, without_reasoning(text)))
            asked = None
    if asked is not None:
        raise ValueError("history ends with a question that has no answer: ask that one")
    return turns
