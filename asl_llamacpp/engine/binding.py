"""cffi binding of layerwise.h: one method a C function, numpy in and out, errors as exceptions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import int32, int32s
from .header import c_context, c_model, ffi, lib
from .held import HeldDocument
from .kinds import (
    EACH_HEAD,
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


class Engine(HeldDocument):
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
        super().__init__(ctx)
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

    def check(self) -> None:
        """Build, without running it, every layer's graph; UnsupportedModelError if the model cannot be cut there."""
        self._check(lib.llama_layerwise_check(self._ctx))

    def keep_hidden(self, on_host: bool) -> None:
        """Keep hidden states between layers on the host from the next prefill on, or (at first) on the devices.

        A device then has two ubatches' rows at a time. On a CPU nothing changes. UnsupportedModelError, and the context
        stays as it is, where a device uses the host's memory anyway, or is another machine.
        """
        self._check(lib.llama_layerwise_keep_hidden(self._ctx, on_host))

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
