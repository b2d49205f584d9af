"""A document for two models: the one that answers, and the one that reads it."""

from __future__ import annotations

from functools import cached_property
from weakref import ref

import numpy as np

from ..selection.transfer import Spans
from .byte_spans import byte_spans
from .chat_prompt import frame
from .document import Document
from .read_prompt import ReadPrompt, outside, said_before
from .turns import History


class Twin:
    """`ours` is asked, `theirs` is what the reader knows of it: the same text, in tokens of its own.

    It does not keep `ours` alive, which keeps the model that answers.
    """

    def __init__(self, ours: Document, theirs: Document) -> None:
        self._ours, self.theirs = ref(ours), theirs

    @property
    def ours(self) -> Document:
        document = self._ours()
        assert document is not None, "only somebody who has it may ask"
        return document

    @cached_property
    def _spans(self) -> tuple[Spans, Spans]:
        """Which bytes of the text the documents' tokens are, those of the templates before them included."""
        made = []
        for document in (self.theirs, self.ours):
            own = byte_spans(document.text, document._pieces, document._llm.model_path)  # type: ignore[attr-defined]
            made.append(np.concatenate([outside(document.n_head), own]))
        return made[0], made[1]

    def prompt(self, question: str, history: History, thinking: bool | None, n_ours: int) -> ReadPrompt:
        """What the reader reads for a question, which is a prompt of `n_ours` tokens to the model that answers.

        Earlier questions and answers are ranked with the document if both templates leave them as they are.
        """
        theirs, ours = self._spans
        begin = len(self.ours.text.encode("utf-8", "surrogatepass"))
        reader, answering = self.theirs._llm, self.ours._llm
        tail, said, read = said_before(reader, frame(reader, question, history, self.theirs._system), begin)
        around = frame(answering, question, history, self.ours._system, thinking)
        _, same, asked = said_before(answering, around, begin)
        if said != same or len(asked) != n_ours - len(ours):
            read, asked = outside(len(tail)), outside(n_ours - len(ours))
        tokens = [*self.theirs.tokens.tolist(), *tail]
        return ReadPrompt(tokens, np.concatenate([theirs, read]), np.concatenate([ours, asked]))
