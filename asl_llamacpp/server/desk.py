"""What the worker works at: the model, and the documents that it has open."""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

import llama_cpp

from ..budget.text import size_text
from ..documents.document import Document
from ..documents.saved_document import document_fingerprint
from ..files.asldoc import DocumentFileError
from ..llama import models
from ..llama.llama import Llama
from .errors import log
from .job import Job
from .library import Library
from .settings import ModelSettings
from .states import States
from .ubatch import check_ubatch

MOST_OPEN = 64
"""Documents that are open at once; those asked least recently are closed."""


class ServedLlama(Llama):
    """A `Llama` that asks before each evaluation whether anybody still waits for it.

    check       its exception stops what is being generated, and leaves the object usable
    n_asked     tokens of the last prompt
    n_answered  tokens of the answer to it so far
    """

    check: Callable[[], object] | None = None
    n_asked = n_answered = 0

    def eval(self, tokens: Sequence[int]) -> None:
        if self.check is not None:
            self.check()
        super().eval(tokens)

    def generate(self, tokens: Sequence[int], *args: Any, **kwargs: Any) -> Generator[int, Sequence[int] | None, None]:
        self.n_asked, self.n_answered, sent = len(tokens), 0, None
        stream = super().generate(tokens, *args, **kwargs)
        while True:
            try:
                token = stream.send(sent)
            except StopIteration:
                return
            self.n_answered += not llama_cpp.llama_vocab_is_eog(self._model.vocab, token)
            sent = yield token


class Desk:
    """To be used by one thread."""

    def __init__(self, settings: ModelSettings, library: Library, states: States) -> None:
        self.settings, self.library, self.states = settings, library, states
        self.llm = models.open_model(settings.path, ServedLlama, kv_policy=settings.policy, **settings.options)
        try:
            check_ubatch(self.llm.pruned_cache)
        except ValueError:
            self.llm.close()
            raise
        states.use(_short_hash(document_fingerprint(self.llm)))
        self._open: OrderedDict[tuple[str, ...], Document] = OrderedDict()
        self._saved: dict[tuple[str, ...], int] = {}
        self._unsaved: list[tuple[tuple[str, ...], Document]] = []

    def close(self) -> None:
        self.llm.close()

    def watch(self, job: Job | None, on_progress: Callable[[Any], object] | None = None) -> None:
        """From now on the model works for this job, and stops within one ubatch when nobody waits for it any more."""
        self.llm.on_progress, self.llm.check = None, None
        if job is not None:

            def progress(step: Any) -> None:
                job.check()
                if on_progress is not None:
                    on_progress(step)

            self.llm.on_progress, self.llm.check = progress, job.check

    # ---- documents --------------------------------------------------------------------------------------------------

    def document(self, ids: Sequence[str]) -> Document:
        """Documents as one, with the state that is kept of them, in memory or in its file.

        Raises APIError for a document that is not there, or cannot be read; ValueError as `Llama.read`.
        """
        key = tuple(ids)
        self._close_deleted()
        document = self._open.get(key)
        if document is not None and _has_no_state(document) and self.states.has(key):
            self._close(key)  # dropped from memory, but there is the file
            document = None
        if document is None:
            document = self._reopened(key) or self._read(key)
            self._open[key] = document
            while len(self._open) > MOST_OPEN:
                self._close(next(iter(self._open)))
        self._open.move_to_end(key)
        self.states.touch(key)
        return document

    def _read(self, key: tuple[str, ...]) -> Document:
        sources = [replace(self.library.source(id_), name=self.library.get(id_).name) for id_ in key]
        return self.llm.shelf.read_sources(sources, self.settings.overflow)

    def _reopened(self, key: tuple[str, ...]) -> Document | None:
        if not self.states.has(key):
            return None
        try:
            document = self.llm.open_document(self.states.path(key))
        except (DocumentFileError, OSError) as error:
            log.warning("the state of %s is not used: %s", "+".join(key), error)
            return None
        if not document.fits:  # it was saved in a larger context
            document.close()
            return None
        known = document.state
        self._saved[key] = known.layers if known is not None else 0
        return document

    def read(self, document: Document) -> float:
        """Run a document through the layers that every question may need; the seconds that took, 0: it was there.

        A policy that chooses its layer would else drop tokens earlier for whoever asks first: the same question would
        be answered otherwise after others. Not where a budget may keep a longer prompt from what was read.
        """
        if not document.fits or self.llm.kv_budget is not None or not self.llm.shelf.lacks_reading(document):
            return 0.0
        begin = time.perf_counter()
        document.prefill()
        return time.perf_counter() - begin

    def source_names(self, ids: Sequence[str]) -> dict[str, str]:
        """The document's id by the name that its source has in answers: of two that are alike, one has a number."""
        parts = self._open[tuple(ids)].content.parts
        names = dict.fromkeys(part.source.name for part in parts)
        return dict(zip(names, ids, strict=True))

    def keep_later(self, ids: Sequence[str], document: Document) -> None:
        """Have `idle` write the document's state."""
        self._unsaved.append((tuple(ids), document))

    def idle(self) -> None:
        """What is done after a job, when its client has its answer: write states into their files."""
        unsaved, self._unsaved = self._unsaved, []
        for ids, document in unsaved:
            note = self.keep(ids, document)
            if note is not None:
                log.warning("%s", note)

    def keep(self, ids: Sequence[str], document: Document) -> str | None:
        """Write a document's state into its file, if it is deeper than what is there; why it was not, if it was not."""
        key, known = tuple(ids), document.state
        if known is None or not document.fits or self._open.get(key) is not document:
            return None
        if not self.states.has(key):
            self._saved.pop(key, None)
        if known.layers <= self._saved.get(key, 0) or _is_partial(document, self.llm):
            return None
        if known.n_bytes > self.states.room():
            return (
                f"the state of {document.name} takes {size_text(known.n_bytes)}, and the server's folder has room for "
                f"{size_text(self.states.room())}: it is not kept over a restart; delete documents, or raise the limit"
            )
        try:
            document.save(self.states.path(key))
        except (OSError, MemoryError) as error:
            return f"the state of {document.name} could not be written, so it is not kept over a restart: {error}"
        self._saved[key] = known.layers
        self.states.trim()
        return None

    def _close_deleted(self) -> None:
        for key in list(self._open):
            if not all(map(self.library.has, key)):
                self._close(key)

    def _close(self, key: tuple[str, ...]) -> None:
        self._open.pop(key).close()
        self._saved.pop(key, None)


def _has_no_state(document: Document) -> bool:
    known = document.state
    return known is not None and known.layers == 0


def _is_partial(document: Document, llm: Llama) -> bool:
    """Whether to save it would cost a prefill."""
    cache, entry = llm.pruned_cache, document.entry
    return cache is None or entry is None or not cache.store.is_whole(entry)


def _short_hash(values: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
