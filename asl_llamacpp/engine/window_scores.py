"""What a run of layers is asked to tell of the window's attention, and the arrays that it goes into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .kinds import LayerInfo, LayerShape, Reduction

SCORING = {False: 1, True: 2}
COMBINING = {"each": 0, "sum": 1, "max": 2}


class Prefilled(Protocol):
    """Of an `EngineInfo`: the tokens that a layer runs on, those of the window, and those that the contrast follows."""

    @property
    def n_kept(self) -> int: ...
    @property
    def n_window(self) -> int: ...
    @property
    def n_seen(self) -> int: ...


class AskedScores:
    """The C structs for `llama_layerwise_run`, and one array a layer, which they point to.

    Args:
        ffi: of the binding.
        wanted: by layer.
        layers: the same layers as they are in the context, or the model.
        info: the context's.
    """

    def __init__(
        self,
        ffi: Any,
        wanted: Mapping[int, Reduction],
        layers: Mapping[int, LayerInfo] | Mapping[int, LayerShape],
        info: Prefilled,
    ) -> None:
        self.by_layer: dict[int, npt.NDArray[np.float32]] = {}
        self.contrast: dict[int, npt.NDArray[np.float32]] = {}
        self.structs = ffi.new("struct llama_layerwise_scores[]", len(wanted))
        self._kept: list[Any] = []
        for struct, (il, reduction) in zip(self.structs, sorted(wanted.items()), strict=True):
            out = np.empty(_shape(reduction, layers[il].n_head, info), dtype=np.float32)
            heads = ffi.new("int32_t[]", reduction.heads)
            struct.il, struct.kernel, struct.heads, struct.n_heads = il, reduction.kernel, heads, len(reduction.heads)
            struct.scoring, struct.combining = SCORING[reduction.products], COMBINING[reduction.combining]
            struct.out, struct.n_out = ffi.from_buffer("float[]", out), out.size
            self.by_layer[il] = out
            if info.n_seen > 0:
                other = np.empty((*out.shape[:-1], info.n_seen), dtype=np.float32)
                struct.contrast, struct.n_contrast = ffi.from_buffer("float[]", other), other.size
                self.contrast[il] = other
            self._kept.append(heads)


def _shape(reduction: Reduction, n_head: int, info: Prefilled) -> tuple[int, ...]:
    n = info.n_kept
    if reduction.combining == "max":
        return (max(n - info.n_window, 0),)
    return (len(reduction.heads) or n_head) if reduction.combining == "each" else 1, n
