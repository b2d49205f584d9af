"""What the binding gives and raises: the engine's structs as dataclasses, its statuses as exceptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

OK, ABORTED, INVALID, UNSUPPORTED, NO_MEMORY, FAILED = range(6)

Bytes = npt.NDArray[np.uint8]

Progress = Callable[[int, int, int, int], None]
"""Called before each ubatch with (il_begin, il_end, tokens_done, n_tokens); an exception stops the prefill."""


class EngineError(RuntimeError):
    """The backend failed to compute a graph; the context is empty and usable."""


class UnsupportedModelError(ValueError):
    """The model's architecture cannot be prefilled layer by layer."""


class PrefillAborted(RuntimeError):
    """The prefill was stopped from outside (llama.cpp's abort callback); the context is empty and usable."""


ERRORS: dict[int, type[Exception]] = {
    ABORTED: PrefillAborted,
    INVALID: ValueError,
    UNSUPPORTED: UnsupportedModelError,
    NO_MEMORY: MemoryError,
    FAILED: EngineError,
}


@dataclass(frozen=True)
class LayerInfo:
    """One layer's KV: cells in use and allocated, bytes of K and V (`k_bytes`, `v_bytes`: of one cell), heads.

    `is_swa` marks a sliding-window layer, `is_compressed` one whose KV heads hold cells of their own.
    """

    n_cells: int
    n_cells_max: int
    bytes: int
    k_bytes: int
    v_bytes: int
    n_head: int
    n_head_kv: int
    is_swa: bool
    is_compressed: bool


@dataclass(frozen=True)
class LayerShape:
    """One layer of a model: heads, values per KV cell over all KV heads, sliding window (0: full attention)."""

    n_head: int
    n_head_kv: int
    n_embd_k: int
    n_embd_v: int
    n_swa: int


@dataclass(frozen=True)
class EngineInfo:
    """A context's layered KV cache; fields as in `struct llama_layerwise_info`."""

    n_layer: int
    n_head: int
    n_tokens: int
    n_kept: int
    il_next: int
    n_groups: int
    kv_bytes: int
    kv_bytes_peak: int
    hidden_bytes: int
    n_grow: int
    n_held: int
    il_held: int
    held_bytes: int
    held_in_cache: int
    n_parked: int
    parked_bytes: int
    mask_bytes: int
