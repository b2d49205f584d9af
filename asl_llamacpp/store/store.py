"""The documents that one context knows: which one a prompt begins with, where its state is, what is dropped first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from ..budget.kv_shape import state_bytes
from ..prefill.document_state import DocumentState, StateCopier, in_ram
from ..prefill.known import Keep, Known
from ..selection.arrays import Ints
from .entry import Compared, Entry, common_prefix
from .known_documents import KnownDocuments
from .spool import Spool


class DocumentStore(KnownDocuments):
    """The documents of one context, least recently used first.

    Args:
        engine: of the context.
        shape: of its KV cache.
        n_embd: values of a hidden state.
        place: where the state of a document goes while another prompt has the context.
        limit: bytes of all states outside of the context, opened files not counted; 0: nothing is kept there.
        min_tokens: prompts share a document if that many first tokens are the same; None: only those that were read.
        folder: for place="disk"; None: the system's folder for temporary files.
    """

    def add(self, tokens: Sequence[int], name: str | None, state: DocumentState | None = None) -> Entry:
        """A document that was read; with `state` it was read from a file."""
        entry = Entry(np.asarray(tokens, dtype=np.int32), name, True, state, on_file=state is not None)
        self.entries.append(entry)
        return entry

    def remove(self, entry: Entry) -> None:
        """Forget a document; harmless if it is gone."""
        self._drop(entry)
        if self.active is entry:
            self._active = None
        if entry in self.entries:
            self.entries.remove(entry)

    def touch(self, entry: Entry) -> None:
        """It is used now, so that others are dropped before it."""
        self.entries = [*(other for other in self.entries if other is not entry), entry]

    def find(self, tokens: Sequence[int]) -> tuple[Entry | None, int]:
        """The document that a prompt begins with, and how many tokens the two share.

        One that was read must be there as a whole. Of what an earlier prompt left, half will do: the rest was that
        prompt's question.
        """
        if not self._compared.is_of(tokens):
            self._compared = Compared(tokens)
        best, longest = None, 0
        for entry in reversed(self.entries):
            n = self._compared.shared(entry)
            if entry.pinned:
                fits = n == len(entry.tokens)
            else:
                enough = self.min_tokens is not None and n >= self.min_tokens
                fits = enough and 2 * n >= len(entry.tokens) and self.layers(entry) > 0
            if fits and n > longest:
                best, longest = entry, n
        return best, longest

    def known(self, entry: Entry, n: int, deepest: int) -> Known:
        """What a prefill can start from if the document's first `n` tokens are wanted; none if that is not possible.

        deepest: layers that all tokens may run through.
        """
        il = self.layers(entry)
        if not 0 < il <= deepest:
            return Known()
        if entry is not self.active and entry.parked is not None:
            self._take_back(entry)
        info = self.engine.info()
        if entry is self.active and info.held_in_cache and info.il_held == il:
            return Known(min(n, info.n_held), il)
        if entry.state is not None and entry.state.il == il and entry.state.serves(n, self.shape):
            return Known(n, il, entry.state)
        return Known()

    def hold_turns(self, entry: Entry, tokens: Sequence[int], evaluated: Sequence[int]) -> int:
        """How many of a prompt's first `tokens` the context holds in all layers, if the document was completed there.

        Beside the document these are questions and answers that were `evaluated` behind it. 0: no more than it.
        """
        info = self.engine.info()
        if entry is not self.active or info.il_held < len(self.shape.layers) or not info.held_in_cache:
            return 0
        n = common_prefix(evaluated, tokens)
        if n <= len(entry.tokens):
            return 0
        with suppress(ValueError):  # cells were dropped meanwhile
            self.engine.hold_more(evaluated[info.n_held : n])
            return n
        return 0

    def copier(self, entry: Entry | None, tokens: Ints) -> StateCopier | None:
        """Copies a document's state while it is prefilled; None if it would not fit the limit."""
        if self._too_large(entry, state_bytes(self.shape, self.n_embd, len(tokens), len(self.shape.layers))):
            return None
        state, n = entry.state if entry is not None else None, len(tokens)
        if state is None or not np.array_equal(state.tokens[:n], tokens) or not state.serves(n, self.shape):
            return self._copier(DocumentState(tokens))
        copier = self._copier(state)
        if len(state.tokens) > n:
            copier.shorten(n)
        return copier

    def _copier(self, state: DocumentState) -> StateCopier:
        settle = Spool(self._folder) if self.place == "disk" else in_ram
        return StateCopier(self.engine, self.shape, self.n_embd, state, settle)

    def stopped(self, tokens: Sequence[int]) -> None:
        """A prefill of `tokens` was stopped while layers ran: what the engine holds of them need not run again."""
        n, (entry, _) = self.engine.info().n_held, self.find(tokens)
        if entry is not None and entry.pinned:
            self._active = entry if n > 0 else self._active
        elif self.min_tokens is not None and n >= self.min_tokens:
            self.prefilled(entry, Keep(n), tokens)

    def put_away(self) -> None:
        """Take the document out of the context, because something else needs that: to the device, RAM or disk."""
        entry = self.active
        if entry is not None:
            self._put_away(entry)
            self._active = None
        self._forget_empty()

    def _put_away(self, entry: Entry) -> None:
        info = self.engine.info()
        if entry.state is not None and entry.state.il >= info.il_held:
            return
        size = state_bytes(self.shape, self.n_embd, len(entry.tokens), info.il_held)
        if info.n_held < len(entry.tokens) or self._too_large(entry, size):
            return
        if self.place == "device":
            number = next(self._numbers)
            try:
                self.engine.park(number)
            except BaseException:
                self._free(number)
                raise
            entry.parked, entry.parked_il = number, info.il_held
        else:
            copier = self._copier(entry.state or DocumentState(entry.tokens))
            copier.finish(info.il_held)
            if copier.failed:
                return
            entry.state, entry.on_file = copier.state, False
        self._shrink(entry)

    def export(self, entry: Entry) -> DocumentState:
        """The document's state on the host, as deep as it is known. ValueError if nothing is."""
        if self.layers(entry) == 0:
            raise ValueError(f"the state of {entry.name or 'the document'} was dropped: ask it something first")
        if entry.parked is not None:
            self._take_back(entry)
        info = self.engine.info()
        deeper = entry is self.active and info.il_held > (entry.state.il if entry.state else 0)
        if deeper and info.n_held >= len(entry.tokens):
            state = entry.state or DocumentState(entry.tokens)
            copier = StateCopier(self.engine, self.shape, self.n_embd, state, in_ram)
            copier.finish(info.il_held)
            if copier.failed:
                raise MemoryError(f"there is no room to copy the state of {entry.name or 'the document'}")
            return copier.state
        if entry.state is None:
            raise ValueError(
                f"only a part of the state of {entry.name or 'the document'} is left: ask it something first"
            )
        return entry.state

    def _take_back(self, entry: Entry) -> None:
        """Put a document that lies on the device into the context."""
        assert entry.parked is not None
        self.put_away()
        number, entry.parked, entry.parked_il = entry.parked, None, 0
        try:
            self.engine.unpark(number)
        except BaseException:
            self._free(number)
            raise
        self._active = entry

    def _free(self, number: int) -> None:
        """Free a place on the device, if it is taken."""
        with suppress(ValueError):
            self.engine.drop(number)

    def prefilled(self, entry: Entry | None, document: Keep, tokens: Sequence[int]) -> None:
        """A prompt was prefilled, and its first `document.n` tokens were kept: they are the document from now on."""
        self._forget_empty()
        closed = entry is not None and entry.pinned and entry not in self.entries
        if document.n == 0 or closed or (document.copier is not None and document.copier.failed):
            return
        ids = np.asarray(tokens[: document.n], dtype=np.int32)
        if entry is None:
            entry = Entry(ids)
        elif not np.array_equal(entry.tokens, ids):
            self._drop(entry)
            entry.tokens = ids
        self.touch(entry)
        if document.copier is not None:
            if entry.state is None or document.copier.state.il > entry.state.il:
                entry.state, entry.on_file = document.copier.state, False
            self._shrink(entry)
        else:
            self._active = entry
        self.info(entry)

    def _drop(self, entry: Entry) -> None:
        if entry.parked is not None:
            self._free(entry.parked)
            entry.parked, entry.parked_il = None, 0
        entry.state = None

    def _forget_empty(self) -> None:
        """Beginnings of prompts of which no state is left."""
        self.entries = [entry for entry in self.entries if entry.pinned or self.layers(entry) > 0]

    def _shrink(self, spared: Entry) -> None:
        """Drop the least recently used states until the rest fits the limit."""
        for entry in list(self.entries):
            if sum(map(self._bytes, self.entries)) <= self.limit:
                return
            if entry is not spared and self._bytes(entry):
                self._drop(entry)
                if not entry.pinned:
                    self.entries.remove(entry)
        if self._bytes(spared) > self.limit:
            self._drop(spared)
