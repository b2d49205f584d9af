"""The cells for an answer: whether there is room for it, and whether it has left the prompt's cells alone."""

from __future__ import annotations

import numpy as np

from ..budget.kv_shape import CELLS_PAD
from ..budget.text import BudgetError
from .planned_cache import PlannedCache


class AnswerRoom(PlannedCache):
    """What a pruned cache does while an answer is decoded."""

    def holds(self, n_tokens: int) -> bool:
        """Whether an answer has left all cells of the last prompt's `n_tokens`: rings of cells forget."""
        n = n_tokens - self.shift
        layers = self.shape.layers
        rings = {layer.n_swa: il for il, layer in enumerate(layers) if layer.n_swa > 0 and self.shape.has_ring}
        for n_swa, il in rings.items():
            if not np.isin(np.arange(max(0, n - n_swa), n), self.engine.positions(il)).all():
                return False
        return True

    def lacks_room(self, n_past: int, n_tokens: int) -> bool:
        """Whether `make_room` has something to do for `n_tokens` after `n_past`. Asked for every token of an answer."""
        if self.budget is not None and self.budget.kind == "bytes":
            return n_past + n_tokens > self._n_room
        return n_tokens > self.shape.n_ubatch  # of fewer the engine sees all at once

    def _n_free(self) -> int:
        """Tokens that every layer has cells for."""
        layers = [self.engine.layer(il) for il in range(len(self.shape.layers))]
        free = (layer.n_cells_max - layer.n_cells for layer in layers if not layer.is_swa)
        return min(free, default=self.shape.n_ctx)

    def make_room(self, n_past: int, n_tokens: int) -> None:
        """Room for `n_tokens` more than the `n_past` that are there, and for the answer if there is memory for it.

        Raises:
            BudgetError: they would make the buffers grow beyond a budget in bytes; nothing is lost.
            MemoryError: the same of the device.
        """
        if self.budget is None or self.budget.kind != "bytes":
            if self.lacks_room(n_past, n_tokens):
                self.engine.make_room(n_tokens, self.headroom(n_tokens))
            return
        self._n_room = n_past + self._n_free()
        if n_past + n_tokens <= self._n_room:
            return
        layers = [self.engine.layer(il) for il in range(len(self.shape.layers))]
        limit, cells = int(self.budget.value), self.shape.cells
        needed = [cells(layer.n_cells + n_tokens, CELLS_PAD, il) for il, layer in enumerate(layers)]
        grown = sum(self.shape.layer_bytes(il, max(needed[il], layer.n_cells_max)) for il, layer in enumerate(layers))
        if grown <= limit:
            self.engine.make_room(n_tokens, CELLS_PAD)
            self._n_room = n_past + self._n_free()
        else:
            raise BudgetError(
                f"the answer needs more KV than kv_budget={self.budget} allows: {grown} bytes for the next token, the "
                f"limit is {limit}; raise kv_budget, or ask for a shorter answer with max_tokens"
            )
