"""A question as it was asked: what it stands after, and what its answer must be like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import llama_cpp

from ..engine.names import check_names, names_of
from .answer_format import grammar_of
from .turns import History, Turn, turns_of

_OWN = ("prompt", "max_tokens", "stream", "echo", "suffix")
"""Arguments of a completion that a question about a document decides itself."""


@dataclass(frozen=True)
class Question:
    """`options`: further arguments of `Llama.create_completion`; `max_tokens` None: until the context is full."""

    text: str
    history: Sequence[Turn]
    max_tokens: int | None
    thinking: bool | None
    stop: Sequence[str]
    options: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        text: str,
        history: History,
        max_tokens: int | None,
        thinking: bool | None,
        response_format: Mapping[str, Any] | None,
        sampling: Mapping[str, Any],
    ) -> Question:
        """From the arguments of `Document.ask`, which has the errors."""
        known = [name for name in names_of(llama_cpp.Llama.create_completion) if name not in _OWN]
        own = ["history", "max_tokens", "stream", "thinking", "response_format"]
        check_names("ask", sampling, [*own, *known])
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, or None for all that has room, not {max_tokens}")
        options: dict[str, Any] = {"temperature": 0.0, **sampling}
        stop = options.pop("stop", None)
        grammar = grammar_of(response_format)
        if grammar is not None:
            if options.get("grammar") is not None:
                raise ValueError("response_format and grammar both say what the answer is like: give one of them")
            options["grammar"] = grammar
        return cls(text, turns_of(history), max_tokens, thinking, _stops(stop), options)


def _stops(stop: str | Sequence[str] | None) -> list[str]:
    given = [stop] if isinstance(stop, str) else list(stop or [])
    if "" in given:
        raise ValueError("stop: an empty text would end every answer before its first word")
    return given
