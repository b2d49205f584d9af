"""What a prefill takes of each device, and of the host, from its first layer to its last. No I/O.

A place is a device, by its number, or the host, which comes after them. Beside K and V there are the hidden states
between the layers, those of a document that is kept for the next question, and the causal mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..policies.answers import Pass
from .kv_shape import CELLS_PAD, KVShape, pad
from .usage import Filling, Moment

_F32 = 4
_F16 = 2

_MASK_STEP = 8
"""Columns of the mask that each n_past begins at a multiple of: see layerwise-mask.h."""

_INPUT_BYTES = 12
"""Of a token: its position, and the cell that it goes to."""

_STAGED = 2
"""Ubatches whose hidden states are on a device, if all are kept on the host."""

_SHARED = 4
"""A document shares the prompt's hidden states if the rest is at most so great a part of it: see layerwise-hold.cpp."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """The first tokens of a prompt, which are a document.

    held         tokens whose state the context keeps after the selection; 0: none
    keeps_cells  whole, beside what the selection leaves
    known        of the tokens, those that need not run through the first `il_known` layers
    """

    held: int = 0
    keeps_cells: bool = False
    known: int = 0
    il_known: int = 0


@dataclass(frozen=True)
class Taken:
    """Bytes at some time, each by place."""

    kv: Sequence[int]
    hidden: Sequence[int]
    mask: Sequence[int]

    def total(self, place: int) -> int:
        return self.kv[place] + self.hidden[place] + self.mask[place]


NO_DOCUMENT = Document()


class DeviceMemory:
    """One pass of a prefill: what it takes, moment by moment.

    Args:
        shape: of the KV cache.
        n_embd: values of a hidden state.
        n_devices: of the model.
        one: the pass.
        headroom: cells per layer for the answer.
        by_host: cells wait on the host for the selection.
        document: what of the prompt is one.
        kv_on_host: K and V are there (`offload_kqv=False`).
        decides: the layers are asked for a selection; else they run at once if nothing is done to their cells.
        hidden_on_host: hidden states are kept there.
    """

    def __init__(
        self,
        shape: KVShape,
        n_embd: int,
        n_devices: int,
        one: Pass,
        headroom: int,
        by_host: bool = False,
        document: Document = NO_DOCUMENT,
        kv_on_host: bool = False,
        decides: bool = True,
        hidden_on_host: bool = False,
    ) -> None:
        self.shape, self.one, self.document, self.headroom = shape, one, document, headroom
        self._row = _F32 * n_embd
        self._host = n_devices
        self._kv_on_host, self._decides, self._hidden_on_host = kv_on_host, decides, hidden_on_host
        self._n, self._n_layer = one.tokens[0], len(one.tokens)
        self._filling = Filling(shape, one, headroom, by_host)
        self._compresses = one.keep is not None and self._n > one.keep
        self._alone = self._compresses or by_host
        self.host_bytes = 0
        """K and V that wait on the host."""

    def moments(self) -> Iterator[Taken]:
        """To be called once."""
        kept: tuple[int, ...] = ()  # a document's own cells
        moment = None
        for moment in self._filling.moments():
            gathers = self.document.keeps_cells and moment.il == self._filling.last_shallow and moment.beside > 0
            if gathers and moment.il_beside <= moment.il:
                kept = kept or moment.sizes
                continue  # all at once, below
            yield self._taken(moment, kept, self._hidden(moment.il))
            if self._drops_after(moment.il):
                yield self._taken(moment, kept, self._keeping(moment.il))
        if moment is not None:
            last = Moment(moment.il, tuple(self._filling.sizes))
            yield self._taken(last, kept, self._hidden(moment.il))
        self.host_bytes = self._filling.host_bytes

    def _place(self, il: int) -> int:
        device = self.shape.layers[il].device
        return self._host if device < 0 else device

    def _kv_place(self, il: int) -> int:
        return self._host if self._kv_on_host else self._place(il)

    def _zeros(self) -> list[int]:
        return [0] * (self._host + 1)

    def _drops_after(self, il: int) -> bool:
        return il + 1 < self._n_layer and self.one.tokens[il + 1] < self.one.tokens[il]

    def _taken(self, moment: Moment, kept: tuple[int, ...], hidden: list[int]) -> Taken:
        kv = self._zeros()
        for il, size in enumerate(moment.sizes):
            kv[self._kv_place(il)] += size
        for il, size in enumerate(kept):
            kv[self._kv_place(il)] += size
        kv[self._kv_place(moment.il_beside)] += moment.beside
        if self.shape.exact_bytes(moment.il, CELLS_PAD) and moment.il_beside == moment.il and moment.beside:
            known = self.document.known if moment.il < self.document.il_known else 0
            n = max(known, self.one.tokens[moment.il] - known)
            kv[self._kv_place(moment.il)] += self.shape.conversion_bytes(moment.il, n)
        return Taken(kv, hidden, self._mask(moment.il))

    # ---- hidden states ---------------------------------------------------------------------------------------------

    @property
    def _runs_at_once(self) -> bool:
        """All layers in one run, between which no hidden states are kept."""
        layer_by_layer = self._decides or self._alone or self.shape.is_converted
        return not layer_by_layer and self.document.known == 0

    def _run_begin(self, il: int) -> int:
        """The first layer of the run that layer `il`, behind the selection, belongs to: hidden states lie there."""
        tokens = self.one.tokens
        alone = self._compresses or self.shape.is_converted or tokens[il] != tokens[-1]
        return il if alone else tokens.index(tokens[-1])

    def _hidden(self, il: int) -> list[int]:
        """While layer `il` runs."""
        n, document, taken = self.one.tokens[il], self.document, self._zeros()
        place, before = self._at(il), self._at(max(il - 1, 0))
        if n < self._n:
            first = self._run_begin(il)
            taken[self._at(first)] += n * self._row
            if il == first and place != before:
                taken[before] += n * self._row
            if document.held:
                taken[self._at(self._latest)] += self._held_rows * self._row
        elif document.known and document.il_known == len(self.shape.layers):
            pass  # one run, of the others alone
        elif document.known:
            taken[self._at(document.il_known - 1)] += document.known * self._row
            if il <= document.il_known:
                taken[place] += (n - document.known) * self._row
            if il >= document.il_known:
                taken[place] += n * self._row
        elif not self._runs_at_once:
            taken[place] += n * self._row
            if place != before:
                taken[before] += n * self._row
        return self._with_inputs(taken, il, n)

    @property
    def _latest(self) -> int:
        """The layer that selects."""
        return max(il for il in range(self._n_layer) if self.one.tokens[il] == self._n)

    @property
    def _held_rows(self) -> int:
        """Hidden states that lie there for the document that is held."""
        document = self.document
        if document.held <= document.known:
            return document.known
        return self._n if self._n - document.held <= document.held // _SHARED else document.held

    def _keeping(self, il: int) -> list[int]:
        """While the selected tokens are gathered after layer `il`."""
        document, taken, place = self.document, self._zeros(), self._at(il)
        if document.known and document.il_known == il + 1:
            taken[self._at(il)] += self._n * self._row  # the known ones, and the others
        elif document.known and document.il_known <= il:
            taken[self._at(document.il_known - 1)] += document.known * self._row
            taken[place] += self._n * self._row
        else:
            taken[place] += self._n * self._row
        if document.held and self._held_rows == document.held < self._n and document.held > document.known:
            taken[place] += document.held * self._row
        taken[place] += self.one.tokens[il + 1] * self._row
        return self._with_inputs(taken, il, self._n - document.known)

    def _at(self, il: int) -> int:
        """Where the hidden states are that layer `il` reads and writes."""
        return self._host if self._hidden_on_host else self._place(il)

    def _with_inputs(self, taken: list[int], il: int, n: int) -> list[int]:
        """And what the device of layer `il` has of `n` tokens: their inputs, and rows on their way from the host."""
        place, staged = self._place(il), self._hidden_on_host and any(taken)
        if place != self._host:
            taken[place] += pad(_INPUT_BYTES * n, CELLS_PAD)
            taken[place] += _STAGED * self._staged_rows(il) * self._row if staged else 0
        return taken

    def _staged_rows(self, il: int) -> int:
        """Of an ubatch of the runs up to layer `il`: known tokens come in behind their layers."""
        known, il_known, tokens = self.document.known, self.document.il_known, self.one.tokens
        most = self._n - known
        if known and il_known <= il < len(tokens):
            most = max(most, tokens[il_known])
        return min(self.shape.n_ubatch, most)

    # ---- the mask --------------------------------------------------------------------------------------------------

    def _mask(self, il: int) -> list[int]:
        """Of the layers up to `il`."""
        taken, document = self._zeros(), self.document
        n = self.one.tokens[il]
        resumes = document.known > 0 and n == self._n and il < document.il_known
        anew = document.known > 0 and not resumes
        past = document.known if resumes else 0
        n_first = n if anew else self._n
        cells = min(pad(self.shape.n_ctx, CELLS_PAD), pad(n_first + self.headroom, CELLS_PAD))
        rows = min(self.shape.n_ubatch, n_first - past)
        columns = pad(pad(cells, _MASK_STEP) + past % _MASK_STEP + rows + CELLS_PAD, CELLS_PAD)
        first = self._latest + 1 if anew and n < self._n else 0
        for place in {self._kv_place(i) for i in range(first, il + 1) if self.shape.layers[i].gives_scores}:
            taken[place] += columns * rows * _F16
        return taken
