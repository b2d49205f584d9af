"""cffi binding of layerwise.h: one method a C function, numpy in and out, errors as exceptions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import int32, int32s, room
from .header import c_context, c_model, ffi, lib
from .kinds import (
    EACH_HEAD,
    ERRORS,
    INVALID,
    OK,
    Bytes,
    EngineError,
    EngineInfo,
    LayerInfo,
    LayerShape,
    PrefillAborted,
    Progress,
    Reduction,
    UnsupportedModelError,
)
from .vocabulary import Vocabulary
from .window_scores import AskedScores

__all__ = ["Engine", "EngineError", "EngineInfo", "LayerInfo", "LayerShape", "PrefillAborted", "UnsupportedModelError"]


MAX_SCORED: int = lib.LLAMA_LAYERWISE_MAX_SCORED
"""Layers that one run computes scores of; a sliding window's layers, which have none, do not count."""


def model_error(model: Any) -> str | None:
    """Why `model` (a ctypes llama_model_p) cannot be prefilled layer by layer, or None if it can."""
    reason = lib.llama_layerwise_model_error(c_model(model))
    return None if reason == ffi.NULL else ffi.string(reason).decode()


def model_layers(model: Any) -> list[LayerShape]:
    """The shape of every layer of `model` (a ctypes llama_model_p), loaded with or without its weights."""
    shape = ffi.new("struct llama_layerwise_shape *")
    layers: list[LayerShape] = []
    while lib.llama_layerwise_model_layer(c_model(model), len(layers), shape) == OK:
        layers.append(LayerShape(**{name: getattr(shape, name) for name in LayerShape.__dataclass_fields__}))
    return layers


def kv_bytes(ctx: Any) -> int:
    """Bytes of all KV buffers of `ctx` (a ctypes llama_context_p), whatever its KV cache is."""
    return int(lib.llama_layerwise_kv_bytes(c_context(ctx)))


@contextlib.contextmanager
def deferred_kv(all_outputs: bool = False) -> Iterator[None]:
    """Contexts created inside (by this thread) allocate KV cells as they are needed, which `Engine` requires.

    `all_outputs`: reserve memory for the logits of every token of a ubatch. Without it there is room for one token's,
    and a batch that wants more takes the memory when it comes.
    """
    lib.llama_layerwise_defer_kv(True, all_outputs)
    try:
        yield
    finally:
        lib.llama_layerwise_defer_kv(False, False)


class Engine:
    """Layer-wise prefill on one llama_context that was created inside `deferred_kv()`.

    Args:
        ctx: a ctypes llama_context_p; it must outlive the engine.
        progress: see `Progress`. Its exception, KeyboardInterrupt included, is raised by `run`.

    Every method raises ValueError for a wrong argument or call order (nothing is changed), MemoryError,
    UnsupportedModelError or EngineError (the context is empty and usable).

    Other threads may call `info` and `layer` at any time, a progress display for instance. While one thread is in
    `run`, `abort` stops it, and other methods raise ValueError.
    """

    def __init__(self, ctx: Any, progress: Progress | None = None) -> None:
        self._ctx = c_context(ctx)
        self.vocabulary = Vocabulary(ctx)
        self._raised: BaseException | None = None
        self._scores: dict[int, npt.NDArray[np.float32]] = {}
        self._contrast: dict[int, npt.NDArray[np.float32]] = {}
        self.running = False
        """Within `run`: the context must not be closed."""
        self.progress = progress
        self._callback = ffi.callback(
            "llama_layerwise_progress", self._on_progress, error=False, onerror=self._on_error
        )

    def _on_progress(self, il_begin: int, il_end: int, done: int, n_tokens: int, _: Any) -> bool:
        if self.progress is not None:
            self.progress(il_begin, il_end, done, n_tokens)
        return True

    def _on_error(self, _type: Any, value: BaseException, _traceback: Any) -> None:
        # an exception (Ctrl-C too) cannot pass through C: keep it, the callback's False stops the prefill
        self._raised = value

    def _check(self, status: int) -> None:
        if status != OK:
            raise ERRORS[status](ffi.string(lib.llama_layerwise_error(self._ctx)).decode())

    def check(self) -> None:
        """Build, without running it, every layer's graph; UnsupportedModelError if the model cannot be cut there."""
        self._check(lib.llama_layerwise_check(self._ctx))

    def begin(self, tokens: Sequence[int] | npt.NDArray[np.integer[Any]], window: int, headroom: int) -> None:
        """Start a prefill at position 0; what the context held is dropped. `headroom`: spare cells per layer."""
        ids = int32s("tokens", tokens)
        buffer = ffi.from_buffer("int32_t[]", ids)
        self._check(lib.llama_layerwise_begin(self._ctx, buffer, len(ids), int32(window), int32(headroom)))

    def contrast(self, n_seen: int, tokens: Sequence[int] | npt.NDArray[np.integer[Any]]) -> None:
        """Run `tokens`, which ask nothing, beside those of the prefill that has just begun, up to the selection.

        They follow the prompt's first `n_seen` tokens in the place of the rest, leave no cells and change nothing.
        """
        ids = int32s("tokens", tokens)
        buffer = ffi.from_buffer("int32_t[]", ids)
        self._check(lib.llama_layerwise_contrast(self._ctx, int32(n_seen), buffer, len(ids)))

    def run(self, il_begin: int, il_end: int, scores: bool | Reduction | Mapping[int, Reduction] = False) -> None:
        """Run layers il_begin <= il < il_end over all ubatches of the kept tokens.

        `scores`: what of the window's attention to compute for `scores()`, by layer, of `MAX_SCORED` layers at most; or
        the same of every layer that gives some, True being that of each head.
        """
        begin, end = int32(il_begin), int32(il_end)
        if self.running:
            raise ValueError("layers are running: wait until they are done")
        asked = self._asked(scores, begin, end)
        # set for this run alone: another engine on the same context may have come and gone
        lib.llama_layerwise_set_progress(self._ctx, self._callback, ffi.NULL)
        self.running = True
        try:
            status = lib.llama_layerwise_run(self._ctx, begin, end, asked.structs, len(asked.structs))
        finally:
            self.running = False
            lib.llama_layerwise_set_progress(self._ctx, ffi.NULL, ffi.NULL)
        if status != INVALID:
            self._scores = asked.by_layer if status == OK else {}
            self._contrast = asked.contrast if status == OK else {}
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised
        self._check(status)

    def _asked(self, scores: bool | Reduction | Mapping[int, Reduction], il_begin: int, il_end: int) -> AskedScores:
        info = self.info()
        if not isinstance(scores, Mapping):
            reduction = EACH_HEAD if isinstance(scores, bool) else scores
            layers = range(max(il_begin, 0), min(il_end, info.n_layer)) if scores else ()
            scores = {il: reduction for il in layers if self.layer(il).gives_scores}
        return AskedScores(ffi, scores, {il: self.layer(il) for il in scores}, info)

    def scores(self, il: int) -> npt.NDArray[np.float32]:
        """Window attention of layer `il`, which the last run was asked for: float32, of the shape of its `Reduction`.

        [n_head, m] where nothing else was said: each head's, summed over the window's queries.
        """
        return self._told(self._scores, il)

    def contrast_scores(self, il: int) -> npt.NDArray[np.float32]:
        """The same of the contrast's tokens, over the n_seen that they follow: as `scores`, with n_seen columns."""
        return self._told(self._contrast, il)

    def _told(self, scores: dict[int, npt.NDArray[np.float32]], il: int) -> npt.NDArray[np.float32]:
        if self.running:
            raise ValueError("layers are running: wait until they are done")
        self.layer(il)
        if il not in scores or self.info().n_tokens == 0:
            raise ValueError(f"layer {il} has no scores: the last run was not asked for them")
        return scores[il]

    def keep(self, positions: Sequence[int] | npt.NDArray[np.integer[Any]]) -> None:
        """Let only the tokens at these prompt positions (sorted, the window included) go deeper.

        Before the first `run`, only they are ever computed, at their positions, and no layer has cells for the others.
        """
        kept = int32s("positions", positions)
        self._check(lib.llama_layerwise_keep(self._ctx, ffi.from_buffer("int32_t[]", kept), len(kept)))

    def compress(self, il: int, cells: npt.NDArray[np.integer[Any]]) -> None:
        """Let layer `il`, which must have run on its own, keep only some cells: [n_head_kv, B], each row sorted.

        A cell is named by its index among the m tokens that the layer ran on; each row ends with the window's.
        """
        kept = np.asarray(cells)
        if kept.ndim != 2:
            raise ValueError(f"cells must be [n_head_kv, B], not {list(kept.shape)}")
        flat = int32s("cells", kept.ravel())
        n_head_kv, n_cells = kept.shape
        self._check(lib.llama_layerwise_compress(self._ctx, il, ffi.from_buffer("int32_t[]", flat), n_head_kv, n_cells))

    def evict(self, positions: Sequence[int] | npt.NDArray[np.integer[Any]], keep_held: bool = False) -> None:
        """Let the layers that have run keep only the cells of the tokens at these positions; as for `keep`.

        Layers with a sliding window keep theirs. `keep_held`: a held document keeps cells of its own, whole.
        """
        kept = int32s("positions", positions)
        self._check(lib.llama_layerwise_evict(self._ctx, ffi.from_buffer("int32_t[]", kept), len(kept), keep_held))

    def release(self, il: int) -> None:
        """Free the cells of layer `il`, which must have run on its own, until `refill` brings some of them back."""
        self._check(lib.llama_layerwise_release(self._ctx, int32(il)))

    def refill(self, il: int, positions: Sequence[int] | npt.NDArray[np.integer[Any]], k: Bytes, v: Bytes) -> None:
        """Give a released layer the cells of the tokens at these positions: uint8 [m, k_bytes] and [m, v_bytes]."""
        kept = int32s("positions", positions)
        buffers = ffi.from_buffer("int32_t[]", kept), len(kept), ffi.from_buffer(k), k.size, ffi.from_buffer(v), v.size
        self._check(lib.llama_layerwise_refill(self._ctx, int32(il), *buffers))

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

    def make_room(self, n_tokens: int, headroom: int) -> None:
        """Room for `n_tokens` more than the context holds, and, if there is memory, `headroom` cells after them.

        Tokens that are decoded then do not enlarge the KV cache chunk by chunk. MemoryError leaves the context as it
        is.
        """
        self._check(lib.llama_layerwise_make_room(self._ctx, int32(n_tokens), int32(headroom)))

    def end(self) -> None:
        """Finish after the last layer; the context decodes from position n."""
        self._check(lib.llama_layerwise_end(self._ctx))

    def abort(self) -> None:
        """Drop a prefill in progress and everything the context holds; harmless at any time."""
        lib.llama_layerwise_abort(self._ctx)

    def info(self) -> EngineInfo:
        """The state of the context's KV cache, from the engine's own buffers."""
        info = ffi.new("struct llama_layerwise_info *")
        self._check(lib.llama_layerwise_get_info(self._ctx, info))
        return EngineInfo(**{name: getattr(info, name) for name in EngineInfo.__dataclass_fields__})

    def layer(self, il: int) -> LayerInfo:
        """One layer's cells and bytes."""
        layer = ffi.new("struct llama_layerwise_layer *")
        self._check(lib.llama_layerwise_get_layer(self._ctx, il, layer))
        return LayerInfo(**{name: getattr(layer, name) for name in LayerInfo.__dataclass_fields__})

    def positions(self, il: int) -> npt.NDArray[np.int32]:
        """Positions of the cells that layer `il` holds, in cell order: int32 [n_cells]. Not of a compressed layer."""
        out = np.empty(self.layer(il).n_cells, dtype=np.int32)
        n = lib.llama_layerwise_get_positions(self._ctx, il, ffi.from_buffer("int32_t[]", out), len(out))
        if n < 0:
            raise ValueError(ffi.string(lib.llama_layerwise_error(self._ctx)).decode())
        return out
