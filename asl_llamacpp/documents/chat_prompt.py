"""The prompt of a question about a document: the chat template, the document's tokens, then the question."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from llama_cpp.llama_chat_format import Llava15ChatHandler, MTMDChatHandler

from . import reasoning
from .rendering import render
from .thinking import handler_with
from .turns import History, Turn, turns_of

IMAGE_HANDLERS = (Llava15ChatHandler, MTMDChatHandler)
"""Chat handlers that write KV cells themselves."""

_PLACE = "<<the document stands here>>"
_SYSTEM = "<<the system prompt stands here>>"
_NOTHING = "N/A"
_BASE_MODEL_STOPS = ["\n\n", "\nQuestion:"]


@dataclass(frozen=True)
class Frame:
    """What stands around a document, and where the answer must stop.

    `before`, `after`: pieces of text, and whether names of special tokens in them are meant: in the template they are,
    in what was asked and answered they are plain text. `add_bos`: whether a first token is added. `thinks`: whether the
    template has begun the model's thoughts.
    """

    before: list[tuple[str, bool]]
    after: list[tuple[str, bool]]
    add_bos: bool
    stop: list[str]
    thinks: bool = False

    def head(self, llm: Any) -> list[int]:
        """Tokens before the document."""
        tokens: list[int] = []
        for i, (text, special) in enumerate(self.before):
            tokens += llm.tokenize(text.encode(), add_bos=self.add_bos and i == 0, special=special)
        return tokens

    def tail(self, llm: Any) -> list[int]:
        """Tokens after it, the question among them."""
        return list(chain(*self.tail_pieces(llm)))

    def tail_pieces(self, llm: Any) -> list[list[int]]:
        """The same, piece by piece of `after`."""
        return [llm.tokenize(text.encode(), add_bos=False, special=special) for text, special in self.after]


def document_tokens(llm: Any, text: str) -> list[int]:
    """The document's own tokens; names of special tokens in it are plain text.

    They are not merged with what stands around them, so that they are the same for every question.
    """
    tokens: list[int] = llm.tokenize(text.encode(), add_bos=False, special=False)
    return tokens


def has_chat_template(llm: Any) -> bool:
    """Whether a prompt is a chat: the model's file has a template, or the object was given a format or a handler."""
    given = llm.chat_handler is not None or llm.chat_format != llm.fallback_format
    return "tokenizer.chat_template" in llm.metadata or given


def frame(llm: Any, question: str, history: History = (), system: str = "", thinking: bool | None = None) -> Frame:
    """The frame of `question` about a document, after the questions and answers of `history`.

    A chat's is what the chat handler in use makes of the messages: the document stands in the first one of the user, so
    that it is the same beginning for every question; a base model gets a plain text. `system`: a message before all
    others. `thinking`: the template's switch for it; None leaves it as it is.

    Raises:
        ValueError: the question is empty, the chat template cannot render the prompt or has no such switch, or the
            handler is for images.
    """
    if not question.strip():
        raise ValueError("the question is empty")
    turns = [*turns_of(history), Turn(question, "")]
    if isinstance(llm.chat_handler, IMAGE_HANDLERS):
        raise ValueError(
            "a chat handler for images evaluates its prompts itself, so a document cannot be put into them: open the "
            "model without chat_handler="
        )
    if not has_chat_template(llm):
        if thinking is not None:
            raise ValueError(f"thinking={thinking}: this model has no chat template, so no switch for it either")
        asked = "".join(f"\n\nQuestion: {turn.question}\nAnswer: {turn.answer}" for turn in turns)
        before = [(f"{system}\n\n" if system else "", False)]
        return Frame(before, [(asked.rstrip(" "), False)], True, list(_BASE_MODEL_STOPS))
    messages = [{"role": "system", "content": _SYSTEM}] if system else []
    said: list[str] = []
    for i, turn in enumerate(turns):
        said.append(turn.question.strip())
        messages.append({"role": "user", "content": f"{_PLACE}\n\n{_said(0)}" if i == 0 else _said(len(said) - 1)})
        if i + 1 < len(turns):
            said.append(turn.answer.strip())
            messages.append({"role": "assistant", "content": _said(len(said) - 1)})
    rendered = render(llm, messages, None if thinking is None else handler_with(llm, thinking))
    start, place, after = rendered.text.partition(_PLACE)
    head = [(start, True)]
    if system:
        start, found, end = start.partition(_SYSTEM)
        head, place = [(start, True), (system, False), (end, True)], place and found
    pieces: list[tuple[str, bool]] = []
    for i, words in enumerate(said):
        template, found, after = after.partition(_said(i))
        pieces += [(template, True), (words, False)]
        place = place and found
    if not place:
        raise ValueError("the model's chat template changes the text of messages: a document cannot be put into it")
    thinks = after.rstrip().endswith(reasoning.START)
    return Frame(head, [*pieces, (after, True)], rendered.add_bos, rendered.stop, thinks)


class NeutralTurn:
    """Tokens of a turn that asks nothing, as they would follow a document; found when they are first wanted.

    It does not keep the model alive.
    """

    def __init__(self, llm: Any) -> None:
        self._llm = weakref.ref(llm)

    def __call__(self) -> list[int]:
        return self._tokens

    @cached_property
    def _tokens(self) -> list[int]:
        llm = self._llm()
        try:
            return frame(llm, _NOTHING).tail(llm)
        except ValueError:  # no question could be put into such a template either
            tokens: list[int] = [] if llm is None else llm.tokenize(f"\n\n{_NOTHING}\n".encode(), add_bos=False)
            return tokens


def _said(i: int) -> str:
    return f"<<what was said stands here, {i}>>"
