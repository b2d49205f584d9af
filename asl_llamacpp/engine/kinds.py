"""What the binding gives and raises: the engine's structs as dataclasses, its statuses as exceptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

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


Combining: TypeAlias = Literal["each", "sum", "max"]


@dataclass(frozen=True)
class Reduction:
    """What the device makes of a layer's window scores before they come to the host. n tokens, the window included.

    combining  "each": nothing, float32 [n_heads, n]; "sum": the heads are added up, [1, n]; "max": each head is
               averaged over `kernel` neighbours, zeros counting at the borders, and the largest average of any head
               is taken, [n - window]: the window's own columns are dropped before
    kernel     of "max", odd, 1 to 4095
    heads      the query heads to look at, strictly increasing; empty: all of them
    products   inner products of queries and keys, instead of softmax attention
    """

    combining: Combining = "each"
    kernel: int = 1
    heads: tuple[int, ...] = ()
    products: bool = False

    def __post_init__(self) -> None:
        if self.combining not in get_args(Combining):
            raise ValueError(f"combining must be one of {', '.join(get_args(Combining))}, not {self.combining!r}")


EACH_HEAD = Reduction()


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

    @property
    def gives_scores(self) -> bool:
        """It has attention, and all tokens see all earlier ones."""
        return not self.is_swa and self.n_head_kv > 0


@dataclass(frozen=True)
class LayerShape:
    """One layer of a model: heads, values per KV cell over all KV heads, sliding window (0: full attention).

    `device`: where it lies, among those that the model was loaded for; -1: on the CPU.
    """

    n_head: int
    n_head_kv: int
    n_embd_k: int
    n_embd_v: int
    n_swa: int
    device: int = -1

    @property
    def gives_scores(self) -> bool:
        """Whether its attention can be scored: it has one, and no sliding window."""
        return self.n_swa == 0 and self.n_embd_k > 0


@dataclass(frozen=True)
class EngineInfo:
    """A context's layered KV cache; fields as in `struct llama_layerwise_info`."""

    n_layer: int
    n_head: int
    n_tokens: int
    n_kept: int
    n_window: int
    n_seen: int
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
