"""The documents of one `Llama`: reading, reopening, listing, saving and forgetting them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..budget.kv_shape import KVShape, state_bytes
from ..budget.text import BudgetError, size_text
from ..prefill.contrast import Found
from ..prefill.document_state import DocumentState
from ..sources import AS_IS, Reading, Source, text_source
from ..sources.gathering import read_all
from ..sources.given import Readable
from ..store.entry import KnownDocument
from .document import Document
from .protocols import Model
from .question import Question
from .saved_document import open_document, save_document
from .sections import SectionedDocument
from .text import DocumentText, title

Overflow = Literal["error", "sections"]


class Shelf:
    """What a `Llama` knows of documents, and what they ask of it."""

    def __init__(self, llm: Model) -> None:
        self._llm = llm

    def read(
        self,
        files: Sequence[Readable | Sequence[Readable]],
        text: str | None,
        name: str | None,
        overflow: Overflow,
        reading: Reading = AS_IS,
        system: str = "",
    ) -> Document:
        """See `Llama.read`."""
        if overflow not in ("error", "sections"):
            raise ValueError(f"overflow={overflow!r}: use 'error' or 'sections'")
        gathered = read_all(files, reading, name if text is None else None)
        sources = gathered.sources
        if text is not None:
            sources.append(text_source(text, name or "text"))
        if not sources:
            raise ValueError("there is nothing to read: name files, or give text=")
        return self.read_sources(sources, overflow, gathered.left_out, system)

    def read_sources(
        self, sources: Sequence[Source], overflow: Overflow = "error", left_out: Sequence[str] = (), system: str = ""
    ) -> Document:
        """As `read`, of texts that were read before; `left_out` are sentences about what was not."""
        return self.add(DocumentText.of(sources, left_out), title(sources), overflow, system)

    def add(self, content: DocumentText, name: str, overflow: Overflow = "error", system: str = "") -> Document:
        """A document of this text."""
        kind = SectionedDocument if overflow == "sections" else Document
        return self.register(kind(self._llm, content, name, system=system))

    def open(self, path: str | os.PathLike[str]) -> Document:
        """See `Llama.open_document`."""
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"open_document takes the path of a file that Document.save wrote, not {path!r}")
        if not os.fspath(path):
            raise ValueError("open_document got an empty path: name a file that Document.save wrote")
        found = Path(path).expanduser()
        if not found.exists():
            raise FileNotFoundError(f"no such saved document: {found}")
        return self.register(*open_document(self._llm, found))

    def known(self) -> list[KnownDocument]:
        """See `Llama.documents`."""
        cache = self._llm.pruned_cache
        return [] if cache is None else self._llm.turn.poll(cache.store.infos, cache.store.last_infos)

    @property
    def kv_shape(self) -> KVShape | None:
        """Shape of the KV cache; None under kv_policy="full"."""
        cache = self._llm.pruned_cache
        return None if cache is None else cache.shape

    def asks(self, document: Document, asked: Question, tokens: Sequence[int]) -> None:
        """The prompt of these tokens, which comes next, is a question about the document."""

    # ---- for documents ---------------------------------------------------------------------------------------------

    def register(
        self, document: Document, state: DocumentState | None = None, neutral: Found | None = None
    ) -> Document:
        """Let prompts that begin with this document use its state."""
        cache = self._llm.pruned_cache
        if cache is not None:
            with self._llm.turn.hold(beside=True):
                document.entry = cache.store.add(document.tokens.tolist(), document.name, state)
                document.entry.neutral.update(neutral or {})
        return document

    def forget(self, document: Document) -> None:
        """Drop its state."""
        cache = self._llm.pruned_cache
        if cache is None or document.entry is None:
            return
        with self._llm.turn.hold(beside=True):
            entry, document.entry = document.entry, None
            if entry is not None:
                cache.store.remove(entry)

    def state(self, document: Document) -> KnownDocument | None:
        """Where its state is; None: none is kept."""
        cache, entry = self._llm.pruned_cache, document.entry
        if cache is None or entry is None:
            return None
        return self._llm.turn.poll(lambda: cache.store.info(entry), cache.store.last_info(entry))

    def prefill(self, document: Document) -> None:
        """Run it through the layers that every question needs."""
        cache = self._llm.pruned_cache
        if cache is not None and document.entry is not None:
            with self._llm.turn.hold():
                if cache.lacks_reading(document.entry):  # else the last prompt stays what it is
                    self._llm.reset()
                    cache.read_ahead(document.entry, self._llm.on_progress)

    def lacks_reading(self, document: Document) -> bool:
        """Whether `prefill` has something to do."""
        cache = self._llm.pruned_cache
        if cache is None or document.entry is None:
            return False
        with self._llm.turn.hold(beside=True):
            return cache.lacks_reading(document.entry)

    def complete(self, document: Document) -> None:
        """Carry it through all layers."""
        cache = self._llm.pruned_cache
        if cache is not None and document.entry is not None:
            with self._llm.turn.hold():
                self._llm.reset()
                cache.complete(document.entry, self._llm.on_progress)

    def export(self, document: Document) -> DocumentState:
        """Its state on the host, after a prefill if there is none yet."""
        cache, entry = self._llm.pruned_cache, document.entry
        if cache is None or entry is None:
            raise ValueError(
                "there is no state to save: the document was closed, or kv_policy='full', which keeps none, is in use"
            )
        with self._llm.turn.hold():
            self._llm.reset()
            if cache.store.layers(entry) == 0 or not cache.store.is_whole(entry):
                self.prefill(document)
            return cache.store.export(entry)

    def save(self, document: Document, path: str | Path) -> int:
        """See `Document.save`."""
        with self._llm.turn.hold():  # the state may be a view of what the next prompt changes
            return save_document(self._llm, document, self.export(document), path)

    def needs(self, document: Document) -> dict[str, str]:
        """What a question about the document will use, in words, by name."""
        cache, n = self._llm.pruned_cache, len(document.tokens)
        if cache is None or n > cache.shape.n_ctx:
            return {}
        try:
            planned = cache.plan(n)
        except BudgetError as error:
            return {"KV memory": f"does not fit: {error}"}
        latest = cache.latest_layer(planned, n)
        il = len(cache.shape.layers) if latest is None else min(latest + 1, len(cache.shape.layers))
        size = state_bytes(cache.shape, cache.store.n_embd, n, il)
        return {
            "KV memory": f"{size_text(planned.kv_bytes)} for a question, {size_text(planned.peak_kv_bytes)} at most",
            "its state": f"{size_text(size)} in {cache.store.place} while other prompts have the context",
        }
