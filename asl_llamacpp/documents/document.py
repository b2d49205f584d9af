"""A document that was read by a `Llama`: many questions to it, each with a selection, and evidence, of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from ..budget.text import size_text
from ..engine.vocabulary import token_texts
from ..prefill.report import PrefillReport
from ..selection.arrays import Ints
from ..selection.units import unit_starts
from ..sources import Source
from ..store.entry import Entry, KnownDocument
from .answer import Answer, AnswerStream
from .attention import Attention
from .chat_prompt import Frame, document_tokens, frame
from .offsets import char_offsets
from .passages import LONGEST
from .protocols import Model
from .question import Question
from .text import DocumentText
from .turns import History

QUESTION_ROOM = 64
"""Tokens that a question and its answer take at least."""


class ContextOverflow(ValueError):
    """The document, the question and the answer do not fit the context; nothing was cut."""


class Document:
    """A document to ask questions of. Made by `Llama.read` and `Llama.open_document`.

    Nothing is evaluated before the first question. That one prefills the document; later ones start from its state
    at the selection layer, and cost little more than their own tokens.

    name      what it is called: its files' names
    sources   what it was read from; offsets of evidence refer to their texts
    text      what the model sees
    tokens    int32 [n], the chat template's tokens before the document included
    n_tokens  tokens of the document itself
    """

    def __init__(
        self,
        llm: Model,
        content: DocumentText,
        name: str,
        saved: tuple[Sequence[int], int] | None = None,
        system: str = "",
    ) -> None:
        self._llm = llm
        self._system = system
        self.content = content
        self.name = name
        if saved is None:
            head, own = self._frame("?").head(llm), document_tokens(llm, content.text)
        else:  # a template may print the date: what was saved goes on with the old one
            tokens, n_head = saved
            head, own = list(tokens[:n_head]), list(tokens[n_head:])
        if not own:
            raise ValueError(f"{name} is empty: there is nothing to ask about")
        self.n_head = len(head)
        self.n_tokens = len(own)
        self.tokens = np.array([*head, *own], dtype=np.int32)
        self.entry: Entry | None = None
        self._closed = False

    @property
    def sources(self) -> tuple[Source, ...]:
        return self.content.sources

    @property
    def text(self) -> str:
        return self.content.text

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the files was not read, or not for certain: a sentence each; empty if all was."""
        return self.content.warnings

    @property
    def n_pages(self) -> int | None:
        """Pages of all sources; None if none has any."""
        return sum(source.n_pages or 0 for source in self.sources) or None

    @property
    def fits(self) -> bool:
        """Whether the context has room for the document and a short question with its answer."""
        return len(self.tokens) + QUESTION_ROOM <= self._llm.n_ctx()

    @property
    def state(self) -> KnownDocument | None:
        """Where its state is, and how large; None under kv_policy="full", which keeps none."""
        return self._llm.shelf.state(self)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where in `text` each of the document's own tokens begins, and the text's length: int64 [n_tokens + 1]."""
        return char_offsets(self.text, self._pieces)

    @cached_property
    def starts(self) -> Ints:
        """The token, of the document's own, that each passage of it begins with: int32 [n_passages]."""
        return unit_starts(self._pieces, LONGEST)

    @cached_property
    def _pieces(self) -> list[bytes]:
        """The bytes of the document's own tokens."""
        return token_texts(self._llm._model.vocab, self.tokens[self.n_head :].tolist())  # type: ignore[attr-defined]

    def _frame(self, question: str, history: History = (), thinking: bool | None = None) -> Frame:
        return frame(self._llm, question, history, self._system, thinking)

    def prompt(self, question: str, history: History = ()) -> list[int]:
        """The tokens of the whole prompt: the document's, then those of the history and the question."""
        return [*self.tokens.tolist(), *self._frame(question, history).tail(self._llm)]

    @overload
    def ask(self, question: str, *, stream: Literal[False] = ..., **options: Any) -> Answer: ...
    @overload
    def ask(self, question: str, *, stream: Literal[True], **options: Any) -> AnswerStream: ...
    def ask(
        self,
        question: str,
        *,
        history: History = (),
        max_tokens: int | None = 256,
        stream: bool = False,
        thinking: bool | None = None,
        response_format: Mapping[str, Any] | None = None,
        **sampling: Any,
    ) -> Answer | AnswerStream:
        """The answer to a question about the document.

        Args:
            question: what to ask.
            history: questions asked before, with their answers, as `Turn`s or as messages of "user" and "assistant";
                they stand between the document and the question.
            max_tokens: longest answer, tokens; None: as long as the context has room.
            stream: return an iterator over the answer's pieces, which has `.answer` once it is through.
            thinking: whether a model that can do both thinks before it answers; None: as its chat template has it.
                What it thinks is in `Answer.reasoning`, and counts as part of the answer's tokens.
            response_format: the form of the answer, as in OpenAI's API: {"type": "json_object"}, with or without a
                "schema", or {"type": "json_schema", "json_schema": {"schema": ...}}.
            sampling: as `Llama.create_completion` takes it; temperature 0, which is greedy, unless said otherwise.

        Raises:
            ContextOverflow: document, question and answer do not fit the context; nothing was cut.
            TypeError: an argument that `Llama.create_completion` does not have.
            ValueError: the question is empty, or the document was closed; a schema that cannot be followed, `thinking`
                where the chat template has no switch for it; else as `Llama.create_completion`.
        """
        if self._closed:
            raise ValueError(f"{self.name} was closed: read or open it again")
        asked = Question.of(question, history, max_tokens, thinking, response_format, sampling)
        answers = self._stream(asked)
        return answers if stream else answers.finish()

    def _stream(self, asked: Question) -> AnswerStream:
        around = self._frame(asked.text, asked.history, asked.thinking)
        tokens = [*self.tokens.tolist(), *around.tail(self._llm)]
        self._check_room(len(tokens) - len(self.tokens), asked.max_tokens or 1)
        max_tokens = asked.max_tokens or self._llm.n_ctx() - len(tokens)
        options = {**asked.options, "stop": [*around.stop, *asked.stop], "max_tokens": max_tokens, "stream": True}

        def chunks() -> Iterator[Any]:
            self._llm.shelf.asks(self, asked, tokens)
            yield from self._llm.create_completion(tokens, **options)

        return AnswerStream(self, asked.text, chunks(), len(tokens), max_tokens, around.thinks)

    def _check_room(self, n_around: int, max_tokens: int) -> None:
        n_ctx, needed = self._llm.n_ctx(), len(self.tokens) + n_around + max_tokens
        if needed > n_ctx:
            raise ContextOverflow(
                f"{self.name} does not fit: {self.n_tokens} tokens of document + {self.n_head + n_around} of question "
                f"and template + {max_tokens} for the answer = {needed}, but n_ctx={n_ctx}. Nothing was cut. Raise "
                "n_ctx, lower max_tokens, or read it with overflow='sections'"
            )

    def attention(self, report: PrefillReport) -> Attention | None:
        """What a prefill of this document kept of it, and by which scores; None if it has none."""
        if report.shown is None or report.n_prompt <= len(self.tokens) or report.shown_layer is None:
            return None
        scores = np.zeros(self.n_tokens, dtype=np.float32)
        seen = np.maximum(report.shown, 0)[self.n_head : len(self.tokens)]
        scores[: len(seen)] = seen
        kept = None
        if report.selected is not None:
            kept = np.zeros(report.n_prompt, dtype=bool)
            kept[report.selected] = True
            kept = kept[self.n_head : len(self.tokens)]
        return Attention(self.content.parts, self.offsets, self.starts, scores, kept, report.shown_layer)

    @property
    def n_evaluated(self) -> int:
        """Tokens that the context has evaluated."""
        return int(self._llm.n_tokens)

    @property
    def n_prompts(self) -> int:
        """Prompts that the object has evaluated."""
        return self._llm.n_prompts

    def last_report(self) -> PrefillReport | None:
        """The report of the prefill that was just made."""
        return self._llm.last_prefill

    def prefill(self) -> None:
        """Run the document through the layers that every question needs, before the first one is asked.

        The selection then comes no earlier than at the latest layer that the policy may choose. Nothing to do under
        kv_policy="full", or where it was done already.
        """
        self._llm.shelf.prefill(self)

    def complete(self) -> None:
        """Carry the document through all layers, from the state that it has, so that questions need no selection.

        From then on a question runs its own tokens alone, through all layers, and sees the whole document: it costs
        what it costs stock llama.cpp after a prompt with the same beginning, and is answered as under
        kv_policy="full". Answers from before may differ, since they saw a selection. Nothing to do under
        kv_policy="full", or where it was done already.

        It takes as long as the rest of a full prefill. An exception of `Llama.on_progress`, Ctrl-C or another thread's
        abort stops it within one ubatch and costs the layer that is running; questions and a further call go on from
        the layers that are done.

        Raises:
            BudgetError: `kv_budget` or `document_limit` does not hold the document in all layers; nothing has changed.
            ContextOverflow: the context has no room for it and a question.
            ValueError: the document was closed.
            MemoryError, OSError: there is no more room, on the device or for the state; the layers before are kept.
        """
        if self._closed:
            raise ValueError(f"{self.name} was closed: read or open it again")
        if not self.fits:
            raise ContextOverflow(
                f"{self.name} does not fit n_ctx={self._llm.n_ctx()} as a whole, with its {len(self.tokens)} tokens "
                "and a question, so it cannot be carried through all layers: raise n_ctx"
            )
        self._llm.shelf.complete(self)

    def save(self, path: str | Path) -> int:
        """Write text, tokens and state into a file for `Llama.open_document`; its size in bytes.

        The file takes the place of an older one at once, when it is whole. A document of which nothing was asked
        yet is prefilled first.

        Raises:
            ValueError: under kv_policy="full" there is no state to save.
            OSError: the file cannot be written; an older one is as it was.
        """
        return self._llm.shelf.save(self, path)

    def close(self) -> None:
        """Forget the document and its state; harmless if that was done before."""
        self._closed = True
        self._llm.shelf.forget(self)

    def __str__(self) -> str:
        llm = self._llm
        room = llm.n_ctx() - len(self.tokens)
        fits = f"fits, {room} tokens are left of" if self.fits else "does not fit"
        pages = f", {self.n_pages} pages" if self.n_pages else ""
        known = self.state
        rows = {
            "document": f"{self.name}{pages}, {len(self.text):,} characters",
            "tokens": f"{self.n_tokens:,}, and {self.n_head} of the chat template before them",
            "context": f"{fits} n_ctx={llm.n_ctx()}",
        }
        rows |= llm.shelf.needs(self)
        if known is not None:
            rows["state"] = _state_text(known)
        lines = [f"{title:<10} {text}" for title, text in rows.items()]
        return "\n".join([*lines, *(f"{'warning':<10} {text}" for text in self.warnings)])


def _state_text(known: KnownDocument) -> str:
    if known.place is None:
        return "nothing is known yet"
    layers = f"all {known.layers}" if known.layers == known.n_layer else str(known.layers)
    return f"{layers} layers have run, in: {known.place}, {size_text(known.n_bytes)}"
