"""What a `Llama` knows of documents: reading, reopening, listing and forgetting them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import llama_cpp

from ..budget.kv_shape import KVShape
from ..budget.text import BudgetError, size_text
from ..policies import Policy
from ..prefill.document_state import DocumentState, state_bytes
from ..prefill.report import OnProgress, PrefillReport
from ..sources import Source, read_source, text_source
from ..store.entry import KnownDocument
from ..store.pruned_cache import PrunedCache
from .document import Document, DocumentText

Overflow = Literal["error", "sections"]


class Reading(llama_cpp.Llama):
    """Documents, for `Llama`."""

    _cache: PrunedCache | None
    on_progress: OnProgress | None
    last_prefill: PrefillReport | None
    fallback_format: str | None = None
    """The chat format that llama-cpp-python takes where neither the model's file nor the caller has one."""
    n_prompts = 0
    """Prompts that were evaluated so far: a stream that sees it change has lost its context."""

    if TYPE_CHECKING:

        @property
        def kv_policy(self) -> Policy: ...

    def read(
        self,
        *files: str | os.PathLike[str],
        text: str | None = None,
        name: str = "text",
        overflow: Overflow = "error",
    ) -> Document:
        """A document to ask questions of, made of files, of `text`, or of both, one after another.

        Args:
            files: text, Markdown, HTML, PDF, DOCX or EPUB, told apart by what is in them; "-" is standard input.
            text: more text, which comes last.
            name: what to call it.
            overflow: what to do about a question when the document does not fit `n_ctx`. "error": refuse it, with the
                numbers; "sections": ask each section, and answer from the evidence of all.

        Nothing is evaluated yet.

        Raises:
            ValueError: there is nothing to read, or a file is empty or cannot be read as text.
            OSError: a file is not there, or may not be read.
        """
        if overflow not in ("error", "sections"):
            raise ValueError(f"overflow={overflow!r}: use 'error' or 'sections'")
        sources = [read_source(str(file)) for file in files]
        if text is not None:
            sources.append(text_source(text, name))
        if not sources:
            raise ValueError("there is nothing to read: name files, or give text=")
        return self.read_sources(sources, overflow)

    def read_sources(self, sources: Sequence[Source], overflow: Overflow = "error") -> Document:
        """As `read`, of texts that were read before."""
        title = ", ".join(source.name for source in sources)
        content = DocumentText.of(sources)
        if overflow == "sections":
            from .sections import SectionedDocument

            return self.register_document(SectionedDocument(self, content, title))
        return self.register_document(Document(self, content, title))

    def open_document(self, path: str | os.PathLike[str]) -> Document:
        """A document as `Document.save` wrote it: it costs reading the file, not a prefill.

        Raises:
            DocumentFileError: the file is damaged, or no such file, or of a newer version (a ValueError).
            DocumentMismatchError: it was saved with another model, tokenizer, context setting or build (also one).
            OSError: it is not there, or may not be read.
        """
        from .saved_document import open_document

        return open_document(self, Path(path))

    @property
    def documents(self) -> list[KnownDocument]:
        """The documents whose beginning a prompt may have, the one used last first: see `document_min`."""
        return [] if self._cache is None else self._cache.store.infos()

    @property
    def kv_shape(self) -> KVShape | None:
        """Shape of the KV cache; None under kv_policy="full"."""
        return None if self._cache is None else self._cache.shape

    # ---- for Document ----------------------------------------------------------------------------------------------

    def register_document(self, document: Document, state: DocumentState | None = None) -> Document:
        """Let prompts that begin with this document use its state."""
        if self._cache is not None:
            document.entry = self._cache.store.add(document.tokens.tolist(), document.name, state)
        return document

    def forget_document(self, document: Document) -> None:
        entry, document.entry = document.entry, None
        if self._cache is not None and entry is not None:
            self._cache.store.remove(entry)

    def document_state(self, document: Document) -> KnownDocument | None:
        if self._cache is None or document.entry is None:
            return None
        return self._cache.store.info(document.entry)

    def prefill_document(self, document: Document) -> None:
        if self._cache is not None and document.entry is not None:
            self.reset()  # type: ignore[no-untyped-call]
            self._cache.read_ahead(document.entry, self.on_progress)

    def export_document(self, document: Document) -> DocumentState:
        """Its state on the host, after a prefill if there is none yet."""
        if self._cache is None or document.entry is None:
            raise ValueError(
                "there is no state to save: the document was closed, or kv_policy='full', which keeps none, is in use"
            )
        self.reset()  # type: ignore[no-untyped-call]
        if self._cache.store.layers(document.entry) == 0 or not self._cache.store.is_whole(document.entry):
            self.prefill_document(document)
        return self._cache.store.export(document.entry)

    def document_needs(self, document: Document) -> dict[str, str]:
        """What a question about the document will use, in words, by name."""
        cache, n = self._cache, len(document.tokens)
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
