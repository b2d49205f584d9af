"""The engine's calls for a document: held in the context, put away and taken back, asked again, gone deeper with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import int32, int32s, room
from .calls import EngineCalls
from .header import ffi, lib
from .kinds import OK, Bytes


class HeldDocument(EngineCalls):
    """Tokens whose state the context keeps between prefills; errors are those of `Engine`."""

    def hold(self, n_held: int) -> None:
        """Hold the first `n_held` tokens, as they are now, for `resume`; before any `keep` or `compress`."""
        self._check(lib.llama_layerwise_hold(self._ctx, int32(n_held)))

    def hold_more(self, tokens: Sequence[int] | npt.NDArray[np.integer[Any]]) -> None:
        """Let the held document, which has run through all layers, go on with tokens that were decoded behind it."""
        ids = int32s("tokens", tokens)
        self._check(lib.llama_layerwise_hold_more(self._ctx, ffi.from_buffer("int32_t[]", ids), len(ids)))

    def restore(
        self,
        tokens: Sequence[int] | npt.NDArray[np.integer[Any]],
        il_held: int,
        hidden: npt.NDArray[np.float32] | None,
    ) -> None:
        """Hold tokens that have run through `il_held` layers elsewhere; what the context held is dropped.

        `hidden`: float32 [n_held, n_embd] after the last of these layers, None if all layers have run. The KV comes
        layer by layer, with `put_kv`.
        """
        ids = int32s("tokens", tokens)
        states = None if hidden is None else np.ascontiguousarray(hidden, dtype=np.float32)
        data = ffi.NULL if states is None else ffi.from_buffer("float[]", states)
        size = 0 if states is None else states.size
        buffer = ffi.from_buffer("int32_t[]", ids)
        self._check(lib.llama_layerwise_restore(self._ctx, buffer, len(ids), int32(il_held), data, size))

    def resume(
        self, n_held: int, tokens: Sequence[int] | npt.NDArray[np.integer[Any]], window: int, headroom: int
    ) -> None:
        """Start a prefill of the first `n_held` held tokens and `tokens`, in the place of what followed them before.

        The layers that the held tokens have run through (`info().il_held`) come first, in runs that end there at the
        latest if their KV is in the cache (`info().held_in_cache`; one run, if some hold a sliding window's cells
        only), else each by itself, after `put_kv`.
        """
        ids = int32s("tokens", tokens)
        buffer = ffi.from_buffer("int32_t[]", ids)
        status = lib.llama_layerwise_resume(self._ctx, int32(n_held), buffer, len(ids), int32(window), int32(headroom))
        self._check(status)

    def deepen(self, headroom: int) -> None:
        """Start a prefill of the held tokens alone, at the layer that they have reached; `hold` them after each one.

        If their KV is not in the cache, copy that of each layer to the host, and end with `abort`.
        """
        self._check(lib.llama_layerwise_deepen(self._ctx, int32(headroom)))

    def get_kv(self, il: int, first: int, k: Bytes, v: Bytes) -> None:
        """Copy K and V of layer `il`, from position `first` on, into uint8 [m, k_bytes] and [m, v_bytes]."""
        buffers = room(ffi, "k", k, np.uint8), k.size, room(ffi, "v", v, np.uint8), v.size
        self._check(lib.llama_layerwise_get_kv(self._ctx, int32(il), int32(first), len(k), *buffers))

    def put_kv(self, il: int, first: int, k: Bytes, v: Bytes) -> None:
        """Give layer `il`, the next one to run, the held tokens' K and V from position `first` on; see `get_kv`."""
        buffers = ffi.from_buffer(k), k.size, ffi.from_buffer(v), v.size
        self._check(lib.llama_layerwise_put_kv(self._ctx, int32(il), int32(first), *buffers))

    def get_hidden(self, out: npt.NDArray[np.float32]) -> None:
        """Copy hidden states of the first tokens into float32 [m, n_embd].

        Of the prefill in progress, after the layers that have run; without one, of the held tokens.
        """
        self._check(lib.llama_layerwise_get_hidden(self._ctx, len(out), room(ffi, "out", out, np.float32), out.size))

    def park(self, number: int) -> None:
        """Put the held document away on its device, under a number that is free; the context is empty afterwards."""
        self._check(lib.llama_layerwise_park(self._ctx, int32(number)))

    def unpark(self, number: int) -> None:
        """Hold a parked document again; what the context held is dropped."""
        self._check(lib.llama_layerwise_unpark(self._ctx, int32(number)))

    def set_aside(self) -> bool:
        """End the prefill in progress, and keep the held document; False if there is none that could be kept."""
        return int(lib.llama_layerwise_set_aside(self._ctx)) == OK

    def drop(self, number: int) -> None:
        """Free a parked document."""
        self._check(lib.llama_layerwise_drop(self._ctx, int32(number)))
