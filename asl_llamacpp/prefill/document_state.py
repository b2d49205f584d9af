"""A document's state on the host: the KV of its tokens up to a layer, and their hidden states after it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..budget.kv_shape import RING_MARGIN, KVShape
from ..engine.binding import Engine
from ..engine.kinds import Bytes
from ..selection.arrays import Floats, Ints

Array = NDArray[Any]


class Settle(Protocol):
    """Takes an array that was just filled, and returns it as it is to be kept: in RAM, or mapped from a file."""

    def __call__(self, array: Array) -> Array: ...

    def gathered(self) -> Callable[[Array], Array]:
        """What gives, for an array that was settled, the same in as few mappings as possible."""
        ...


class InRam:
    """Arrays stay where they are."""

    def __call__(self, array: Array) -> Array:
        return array

    def gathered(self) -> Callable[[Array], Array]:
        return self


in_ram = InRam()


@dataclass(frozen=True, eq=False)
class LayerKV:
    """One layer's cells of the positions `first`..n-1: uint8 [n - first, bytes of a cell], as the cache stores them."""

    first: int
    k: Bytes
    v: Bytes

    @property
    def n_bytes(self) -> int:
        return int(self.k.nbytes + self.v.nbytes)


@dataclass(eq=False)
class DocumentState:
    """What the layers before `il` made of a document.

    tokens  int32 [n]
    layers  by layer, from the first one
    hidden  float32 [n, n_embd] after the last of `layers`; None if these are all layers of the model
    """

    tokens: Ints
    layers: list[LayerKV] = field(default_factory=list)
    hidden: Floats | None = None

    @property
    def il(self) -> int:
        """Layers that the tokens have run through."""
        return len(self.layers)

    @property
    def n_bytes(self) -> int:
        hidden = 0 if self.hidden is None else self.hidden.nbytes
        return sum(layer.n_bytes for layer in self.layers) + int(hidden)

    def copy(self) -> DocumentState:
        """Another one with the same arrays, to which layers can be added."""
        return DocumentState(self.tokens, list(self.layers), self.hidden)

    def first_tokens(self, n: int) -> DocumentState:
        """The state of the first `n` tokens alone, on the same memory; see `serves`."""
        layers = [LayerKV(kv.first, kv.k[: n - kv.first], kv.v[: n - kv.first]) for kv in self.layers]
        return DocumentState(self.tokens[:n], layers, None if self.hidden is None else self.hidden[:n])

    def serves(self, n: int, shape: KVShape) -> bool:
        """Whether the first `n` tokens alone can be restored: a sliding window's ring may not reach back far enough."""
        return 0 < n <= len(self.tokens) and all(
            kv.first <= max(0, n - layer.n_swa) for kv, layer in zip(self.layers, shape.layers, strict=False)
        )

    def put(self, engine: Engine, il: int, n: int) -> None:
        """Give layer `il` of a resumed prefill the cells of the first `n` tokens."""
        kv = self.layers[il]
        engine.put_kv(il, kv.first, kv.k[: n - kv.first], kv.v[: n - kv.first])


class StateCopier:
    """Copies the state of a prefill's first tokens to the host, as its layers are done.

    Args:
        engine: of the prefill.
        shape: of its KV cache.
        n_embd: values of a hidden state.
        state: what is there already; more layers are added to it, up to the `commit`ted one.
        settle: where the arrays are kept.
    """

    def __init__(self, engine: Engine, shape: KVShape, n_embd: int, state: DocumentState, settle: Settle) -> None:
        self.engine, self.shape, self.n_embd, self.settle = engine, shape, n_embd, settle
        self.state = state.copy()
        self.failed = False
        """There was no room: nothing is copied any more."""

    def add(self, il_end: int) -> None:
        """Copy the layers before `il_end` that are not there yet, all tokens still in their cells."""
        self._try(self._add, il_end)

    def finish(self, il_end: int) -> None:
        """The layers before `il_end`, and the hidden states after them, unless these are all layers."""
        self._try(self._finish, il_end)

    def _try(self, copy: Callable[[int], None], il_end: int) -> None:
        """A document that finds no room costs a warning and the next prefill, but not this answer."""
        if self.failed:
            return
        try:
            copy(il_end)
        except (OSError, MemoryError, ValueError) as error:
            self.failed = True
            warnings.warn(f"a document's state was not kept: {error}", RuntimeWarning, stacklevel=3)

    def _add(self, il_end: int) -> None:
        n = len(self.state.tokens)
        for il in range(self.state.il, il_end):
            n_swa = self.shape.layers[il].n_swa
            ring = n_swa > 0 and not self.shape.swa_full
            first = max(0, n - n_swa - RING_MARGIN) if ring else 0
            k, v = (np.empty((n - first, size), dtype=np.uint8) for size in self.shape.row_bytes(il))
            if k.size:  # a layer without attention has no cells
                try:
                    self.engine.get_kv(il, first, k, v)
                except ValueError:
                    if not ring:
                        raise
                    raise OSError("its sliding window's cells were overwritten by a long question") from None
            self.state.layers.append(LayerKV(first, self.settle(k), self.settle(v)))

    def _finish(self, il_end: int) -> None:
        if il_end < self.state.il or (il_end == self.state.il and self.state.hidden is not None):
            return
        self._add(il_end)
        self.state.hidden = self._hidden(il_end)
        self.settle_hidden()

    def _hidden(self, il_end: int) -> Floats | None:
        if il_end == len(self.shape.layers):
            return None
        hidden = np.empty((len(self.state.tokens), self.n_embd), dtype=np.float32)
        self.engine.get_hidden(hidden)
        return hidden

    def step(self, il_end: int) -> None:
        """As `finish`, with the hidden states in RAM until `settle_hidden`, and an error if there is no room.

        The state is the one before or the one after, whatever interrupts this.
        """
        before = self.state
        self.state = before.copy()
        try:
            self._add(il_end)
            self.state.hidden = self._hidden(il_end)
        except BaseException:
            self.state = before
            raise

    def settle_hidden(self) -> None:
        """Put the hidden states where the rest is."""
        if self.state.hidden is not None:
            self.state.hidden = self.settle(self.state.hidden)
        self._gather()

    def _gather(self) -> None:
        """One mapping for all that was written into a file, where each array had its own."""
        gather = self.settle.gathered()
        self.state.layers = [LayerKV(kv.first, gather(kv.k), gather(kv.v)) for kv in self.state.layers]
        self.state.hidden = None if self.state.hidden is None else gather(self.state.hidden)

    def shorten(self, n: int) -> None:
        """Begin with the state of the first `n` tokens alone, on memory of its own."""
        short = self.state.first_tokens(n)

        def keep(array: Any) -> Any:
            return self.settle(np.array(array))

        short.layers = [LayerKV(kv.first, keep(kv.k), keep(kv.v)) for kv in short.layers]
        short.hidden = None if short.hidden is None else keep(short.hidden)
        self.state = short
        self._gather()
