"""What every group of calls to the engine has: its context, its errors, and what the context holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .header import c_context, ffi, lib
from .kinds import ERRORS, OK, EngineInfo, LayerInfo


class EngineCalls:
    """Calls to the engine of one context, a ctypes llama_context_p that outlives them."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = c_context(ctx)

    def _check(self, status: int) -> None:
        if status != OK:
            raise ERRORS[status](ffi.string(lib.llama_layerwise_error(self._ctx)).decode())

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
