"""How one prefill fills the KV cache, from its first layer to its last. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..policies.answers import Pass
from .kv_shape import KVShape


@dataclass(frozen=True)
class Usage:
    """KV of one prefill: cells allocated by layer, bytes after it, and the most bytes at any time of it.

    `host_bytes`: K and V that wait on the host for the selection.
    """

    cells: tuple[int, ...]
    kv_bytes: int
    peak_kv_bytes: int
    host_bytes: int = 0


@dataclass(frozen=True)
class Moment:
    """The KV at some time of a prefill.

    il       layer that runs, or the last one that ran
    sizes    bytes of each layer so far
    beside   bytes beside these: another copy of layer `il_beside`, which is compressed, quantized or gathered
    """

    il: int
    sizes: tuple[int, ...]
    beside: int = 0
    il_beside: int = 0

    @property
    def n_bytes(self) -> int:
        return sum(self.sizes) + self.beside


class Filling:
    """How one pass fills the KV: `moments`, and what there is after the last of them.

    Layer after layer: each runs on its tokens, and is then compressed to `keep` cells if it has more. If the pass
    leaves `left` cells to the layers before the selection, they are gathered there: one after another on the device,
    or, `by_host`, out of copies on the host, where they went as soon as they had run. Layers with a sliding window are
    never compressed.

    cells       cells allocated, by layer
    sizes       bytes of these
    host_bytes  K and V that wait on the host for the selection
    """

    def __init__(self, shape: KVShape, one: Pass, headroom: int, by_host: bool = False) -> None:
        self._shape, self._pass, self._headroom, self._by_host = shape, one, headroom, by_host
        self.cells: list[int] = []
        self.sizes: list[int] = []
        self.host_bytes = 0

    @property
    def last_shallow(self) -> int:
        """The layer after which cells are gathered; -1: none are."""
        left = self._pass.left
        return -1 if left is None else sum(n_tokens > left for n_tokens in self._pass.tokens) - 1

    def moments(self) -> Iterator[Moment]:
        """Those at which there may be most, in their order. To be called once."""
        shape, one, exact = self._shape, self._pass, 0
        alone, last_shallow = self._by_host or one.keep is not None, self.last_shallow
        for il, n_tokens in enumerate(one.tokens):
            n_cells = shape.cells(n_tokens, self._headroom, il)
            size = shape.layer_bytes(il, n_cells)
            # layers of one run have their buffers when the first is quantized
            before = exact if not alone and il > 0 and one.tokens[il - 1] == n_tokens else 0
            exact = max(before, shape.exact_bytes(il, n_cells))
            yield Moment(il, (*self.sizes, size), exact, il)
            is_full = shape.layers[il].n_swa == 0
            if is_full and one.keep is not None and n_tokens > one.keep:
                n_cells = shape.cells(one.keep, self._headroom, il)
                kept = shape.layer_bytes(il, n_cells)
                yield Moment(il, (*self.sizes, size), kept, il)
                size = kept
            if is_full and self._by_host and il <= last_shallow:
                self.host_bytes += shape.cell_bytes(il) * n_tokens
                size = 0
            self.cells.append(n_cells)
            self.sizes.append(size)
            if il == last_shallow and one.left is not None:
                yield from self._gather(one.left)

    def _gather(self, left: int) -> Iterator[Moment]:
        last = len(self.cells) - 1
        for i in (i for i in range(last + 1) if self._shape.layers[i].n_swa == 0):
            self.cells[i] = self._shape.cells(left, self._headroom, i)
            kept = self._shape.layer_bytes(i, self.cells[i])
            yield Moment(last, tuple(self.sizes), kept, i)
            self.sizes[i] = kept


def usage(shape: KVShape, one: Pass, headroom: int, by_host: bool = False) -> Usage:
    """What one pass takes; see `Filling`."""
    filling = Filling(shape, one, headroom, by_host)
    peak = max(moment.n_bytes for moment in filling.moments())
    return Usage(tuple(filling.cells), sum(filling.sizes), peak, filling.host_bytes)
