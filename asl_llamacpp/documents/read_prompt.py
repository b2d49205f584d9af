"""One prompt as two models see it: the reader's tokens, and which bytes of the common text each token of either is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from ..engine.vocabulary import token_texts
from ..selection.transfer import OUTSIDE, Spans
from .byte_spans import byte_spans
from .chat_prompt import Frame, frame


@dataclass(frozen=True)
class ReadPrompt:
    """A prompt for the model that reads.

    tokens  the reader's, [m], its own template around the text
    theirs  int64 [m, 2], which bytes of the text each of them is
    ours    int64 [n, 2], which bytes each token of the model that answers is; what is outside is always kept
    """

    tokens: list[int]
    theirs: Spans
    ours: Spans


def outside(n: int) -> Spans:
    """Spans of `n` tokens that are not of the text."""
    return np.full((n, 2), OUTSIDE, dtype=np.int64)


def spans_of(llm: Any, text: str | bytes, tokens: Sequence[int], begin: int = 0) -> Spans:
    """Which bytes of a text that begins at byte `begin` the tokens are that `llm` made of it as plain text."""
    return byte_spans(text, token_texts(llm._model.vocab, tokens), llm.model_path) + begin


def said_before(llm: Any, around: Frame, begin: int) -> tuple[list[int], list[str], Spans]:
    """The tokens of what follows a document, earlier questions and answers among them, and the spans of the tokens.

    Their texts come one after another, from byte `begin` on. The template and the last question are outside of them.
    """
    said: list[str] = []
    parts: list[Spans] = []
    pieces = around.tail_pieces(llm)
    asked = max((i for i, (_, special) in enumerate(around.after) if not special), default=0)
    for i, ((text, special), tokens) in enumerate(zip(around.after, pieces, strict=True)):
        if special or i == asked:
            parts.append(outside(len(tokens)))
            continue
        parts.append(spans_of(llm, text, tokens, begin))
        said.append(text)
        begin += len(text.encode())
    return list(chain(*pieces)), said, np.concatenate(parts) if parts else outside(0)


def prompt_of_texts(texts: Sequence[bytes], reader: Any) -> ReadPrompt:
    """Of any prompt: its whole text, without the special tokens, as what a user says to the reader.

    texts: the bytes of each token, b"" for those of a template
    """
    data = b"".join(texts)
    ends = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)).cumsum()
    ours = np.stack([np.append(0, ends[:-1]), ends], axis=1)
    ours[[not text for text in texts]] = OUTSIDE
    around = frame(reader, "?")
    head = around.head(reader)
    own = reader.tokenize(data, add_bos=False, special=False)
    text, special = around.after[-1]
    tail = reader.tokenize(text.encode(), add_bos=False, special=True) if special else []
    theirs = np.concatenate([outside(len(head)), spans_of(reader, data, own), outside(len(tail))])
    return ReadPrompt([*head, *own, *tail], theirs, ours)
