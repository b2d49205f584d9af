"""Which documents one context knows, how deep and how large each is, and what is too large to be kept."""

from __future__ import annotations

import warnings
from itertools import count
from pathlib import Path

from ..budget.kv_shape import KVShape, state_bytes
from ..budget.text import BudgetError, size_text
from ..engine.binding import Engine
from .entry import Compared, Entry, KnownDocument
from .settings import Place


class KnownDocuments:
    """The documents of one context, least recently used first: see `DocumentStore` for the arguments."""

    def __init__(
        self,
        engine: Engine,
        shape: KVShape,
        n_embd: int,
        place: Place = "ram",
        limit: int = 0,
        min_tokens: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self.engine, self.shape, self.n_embd = engine, shape, n_embd
        self.place, self.limit, self.min_tokens = place, limit, min_tokens
        self.entries: list[Entry] = []
        self._active: Entry | None = None
        self._compared = Compared()
        self._folder = folder
        self._numbers = count()
        self._notes: list[str] = []
        self._told = False

    @property
    def active(self) -> Entry | None:
        """The document that the context holds."""
        if self._active is not None and self.engine.info().n_held == 0:
            self._active = None
        return self._active

    def layers(self, entry: Entry) -> int:
        """How many layers the document has run through, 0: no state is left."""
        active = self.engine.info().il_held if entry is self.active else 0
        return max(active, entry.state.il if entry.state else 0, entry.parked_il)

    def is_whole(self, entry: Entry) -> bool:
        """Whether all of the document's tokens have their state: a stopped question may cost the last ones."""
        return entry is not self.active or self.engine.info().n_held >= len(entry.tokens) or entry.state is not None

    def infos(self) -> list[KnownDocument]:
        """All documents, the one used last first."""
        return [self.info(entry) for entry in reversed(self.entries)]

    def last_info(self, entry: Entry) -> KnownDocument:
        """As `info` had it when it was last asked: nothing is looked at, so any thread may call it at any time."""
        return entry.last_info or KnownDocument(entry.name, len(entry.tokens), 0, len(self.shape.layers), 0, None)

    @property
    def last_infos(self) -> list[KnownDocument]:
        """As `infos`, of `last_info`."""
        return [self.last_info(entry) for entry in reversed(list(self.entries))]

    def info(self, entry: Entry) -> KnownDocument:
        """Where a document's state is, and how large."""
        entry.last_info = self._info(entry)
        return entry.last_info

    def _info(self, entry: Entry) -> KnownDocument:
        il = self.layers(entry)
        place: str | None = None
        if entry is self.active:
            place = "context"
        elif entry.parked is not None:
            place = "device"
        elif entry.state is not None:
            place = "file" if entry.on_file else self.place
        size = state_bytes(self.shape, self.n_embd, len(entry.tokens), il) if il else 0
        return KnownDocument(entry.name, len(entry.tokens), il, len(self.shape.layers), size, place)

    def _bytes(self, entry: Entry) -> int:
        """Bytes outside of the context that the limit counts."""
        if entry.parked is not None:
            return state_bytes(self.shape, self.n_embd, len(entry.tokens), entry.parked_il)
        return entry.state.n_bytes if entry.state is not None and not entry.on_file else 0

    def check_deeper(self, entry: Entry, in_context: bool) -> None:
        """BudgetError if `document_limit` keeps the document as it is, but would not after all layers.

        in_context: it may stay there; what is there alone, and would be lost in any case, may then go deeper.
        """
        n, il, limit = len(entry.tokens), self.layers(entry), self.limit
        size = state_bytes(self.shape, self.n_embd, n, len(self.shape.layers))
        stays = in_context and entry is self.active and state_bytes(self.shape, self.n_embd, n, il) > limit
        if size > limit and not stays:
            raise BudgetError(
                f"the state of {entry.name or 'the document'} after all layers takes {size_text(size)}, more than "
                f"document_limit={size_text(limit)}, so the next prompt would cost it: raise document_limit"
            )

    def _too_large(self, entry: Entry | None, size: int) -> bool:
        if size <= self.limit:
            return False
        note = self._limit_note(entry, size)
        if entry is not None and entry.pinned:
            warnings.warn(note, RuntimeWarning, stacklevel=3)
        self._tell(entry, note)
        return True

    def _limit_note(self, entry: Entry | None, size: int) -> str:
        name = "this prompt" if entry is None or entry.name is None else entry.name
        return (
            f"the state of {name} takes {size_text(size)}, more than document_limit={size_text(self.limit)}: it is not "
            "kept when another prompt comes, and the next question then costs a prefill; raise document_limit"
        )

    def _tell(self, entry: Entry | None, note: str) -> None:
        """Once for each document that was read, and once for all beginnings of prompts; 0 was meant so."""
        told = self._told if entry is None or not entry.pinned else entry.told
        if told or self.limit == 0:
            return
        if entry is None or not entry.pinned:
            self._told = True
        else:
            entry.told = True
        self._notes.append(note)

    def take_notes(self) -> list[str]:
        """What the report of the present prompt should say, because nobody else will."""
        entry = self.active
        if entry is not None:
            size = state_bytes(self.shape, self.n_embd, len(entry.tokens), self.layers(entry))
            if size > self.limit:
                self._tell(entry, self._limit_note(entry, size))
        notes, self._notes = self._notes, []
        return notes
