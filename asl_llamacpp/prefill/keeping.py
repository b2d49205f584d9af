"""What the layers before the selection keep once the tokens are selected: all cells, or those of the selected tokens.

The selected cells are gathered on the device when the selection is made. Or, where that is too small for all these
layers, each layer waits on the host from when it has run; then the device holds one layer at a time as a whole.
"""

from __future__ import annotations

import numpy as np

from ..engine.binding import Engine
from ..engine.kinds import Bytes
from ..policies import Policy
from ..selection.arrays import Ints
from ..selection.selectors import Deciding
from .document_state import StateCopier
from .known import Keep


class Keeping:
    """All cells stay.

    evicts       the selection changes what the layers before it hold
    one_by_one   these layers must each be run alone
    host_bytes   K and V that have waited on the host
    """

    evicts = False
    one_by_one = False
    host_bytes = 0

    def ran(self, il: int) -> None:
        """Layer `il`, without a sliding window, has run alone, and a document's part of it was copied."""

    def selected(self, positions: Ints) -> None:
        """The selection was made; the document was kept."""


class SelectedInPlace(Keeping):
    """The selected cells alone stay, gathered on the device."""

    evicts = True

    def __init__(self, engine: Engine, keep_held: bool) -> None:
        self._engine, self._keep_held = engine, keep_held

    def selected(self, positions: Ints) -> None:
        self._engine.evict(positions, self._keep_held)


class SelectedByHost(Keeping):
    """The selected cells alone come back from the host, where all of them wait.

    What `copier` has of them, the document's, is not copied twice.
    """

    evicts = True
    one_by_one = True

    def __init__(self, engine: Engine, n_tokens: int, copier: StateCopier | None) -> None:
        self._engine, self._n, self._copier = engine, n_tokens, copier
        self._rest: dict[int, tuple[int, Bytes, Bytes]] = {}

    def ran(self, il: int) -> None:
        layer, n_copied = self._engine.layer(il), 0
        if layer.n_cells_max == 0:
            return  # without attention
        if self._copier is not None and self._copier.state.il > il:
            n_copied = len(self._copier.state.tokens)
        k, v = (np.empty((self._n - n_copied, size), dtype=np.uint8) for size in (layer.k_bytes, layer.v_bytes))
        if len(k):
            self._engine.get_kv(il, n_copied, k, v)
        self._engine.release(il)
        self._rest[il] = n_copied, k, v
        self.host_bytes += self._n * (layer.k_bytes + layer.v_bytes)

    def selected(self, positions: Ints) -> None:
        for il in sorted(self._rest):
            n_copied, k, v = self._rest.pop(il)
            rest = positions[positions >= n_copied] - n_copied
            k, v = k[rest], v[rest]
            if n_copied > 0 and self._copier is not None:
                copied, known = positions[positions < n_copied], self._copier.state.layers[il]
                k, v = np.concatenate([known.k[copied], k]), np.concatenate([known.v[copied], v])
            self._engine.refill(il, positions, k, v)


def keeping_of(
    engine: Engine, policy: Policy, selector: Deciding, n_tokens: int, document: Keep, by_host: bool
) -> Keeping:
    """What `policy` wants; `by_host`: if need be by way of the host, which takes a selector that surely decides."""
    if policy.keep != "selected" or not selector.prunes:
        return Keeping()
    if by_host and selector.surely_decides:
        return SelectedByHost(engine, n_tokens, document.copier)
    return SelectedInPlace(engine, keep_held=document.n > 0 and document.copier is None)
