"""The documents of a `Llama` that has a reader: what is kept of them, the reader keeps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..prefill.contrast import Found
from ..prefill.document_state import DocumentState
from ..store.entry import KnownDocument
from .document import Document
from .question import Question
from .reader import Reader
from .saved_document import open_document
from .shelf import Shelf


class ReadShelf(Shelf):
    """As `Shelf`: states, and the files that documents are saved in, are the reader's, whichever model answers."""

    def __init__(self, llm: Any, reader: Reader) -> None:
        super().__init__(llm)
        self._reader = reader

    @property
    def _theirs(self) -> Any:
        return self._reader.llm.shelf

    def _twin(self, document: Document) -> Document | None:
        return None if document.entry is None else self._reader.twin(document)

    def asks(self, document: Document, asked: Question, tokens: Sequence[int]) -> None:
        if self._twin(document) is not None:
            self._reader.asks(document, tokens, asked)

    def open(self, path: str | os.PathLike[str]) -> Document:
        theirs, state, neutral = open_document(self._reader.llm, Path(path))
        self._theirs.register(theirs, state, neutral)
        ours = self.register(Document(self._llm, theirs.content, theirs.name, system=theirs._system))
        self._reader.know(ours, theirs)
        return ours

    def register(
        self, document: Document, state: DocumentState | None = None, neutral: Found | None = None
    ) -> Document:
        assert state is None, "a document's state is the reader's"
        return super().register(document)

    def known(self) -> list[KnownDocument]:
        known: list[KnownDocument] = self._theirs.known()
        return known

    def forget(self, document: Document) -> None:
        with self._llm.turn.hold(beside=True):
            self._reader.forget(document)
        super().forget(document)

    def state(self, document: Document) -> KnownDocument | None:
        twin = self._twin(document)
        return None if twin is None else twin.state

    def prefill(self, document: Document) -> None:
        twin = self._twin(document)
        if twin is not None:
            reader = self._reader.llm
            with self._llm.turn.hold():
                reader.on_progress = self._llm.on_progress
                try:
                    twin.prefill()
                finally:
                    reader.on_progress = None

    def complete(self, document: Document) -> None:
        raise ValueError(
            "with reader= a document is never carried through all layers of the model that answers: each question is "
            "answered from the tokens that the reader chooses; leave reader= out for that"
        )

    def save(self, document: Document, path: str | Path) -> int:
        twin = self._twin(document)
        if twin is None:
            raise ValueError("there is no state to save: the document was closed")
        with self._llm.turn.hold():
            return twin.save(path)

    def needs(self, document: Document) -> dict[str, str]:
        twin = self._twin(document)
        if twin is None or len(document.tokens) > self._llm.n_ctx():
            return {}
        return {**super().needs(document), "its state": self._theirs.needs(twin).get("its state", "unknown")}
