"""llama.cpp's own attention, taken out of its ordinary graph: what window scores must equal, whatever the architecture.

Without flash attention the graph holds the softmax as a tensor of its own, which an eval callback can read.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray
from raw_llama import C, Context, Model

NAME = "kq_soft_max-"
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)


def _functions() -> Any:
    ggml = C._lib
    ggml.ggml_get_name.restype, ggml.ggml_get_name.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    for name in ("ggml_nelements", "ggml_nrows"):
        getattr(ggml, name).restype, getattr(ggml, name).argtypes = ctypes.c_int64, [ctypes.c_void_p]
    read = ggml.ggml_backend_tensor_get
    read.restype, read.argtypes = None, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
    return ggml


def window_sums(model: Model, tokens: NDArray[np.int32], window: int, **params: Any) -> dict[int, NDArray[np.float32]]:
    """Softmax attention of the last `window` tokens summed, by layer: float32 [n_head, n]."""
    ggml, n, sums = _functions(), len(tokens), {}

    def on_tensor(tensor: int, ask: bool, _: object) -> bool:
        name = ggml.ggml_get_name(tensor).decode()
        if not name.startswith(NAME):
            return not ask
        if ask:
            return True
        weights = np.empty(ggml.ggml_nelements(tensor), dtype=np.float32)
        ggml.ggml_backend_tensor_get(tensor, weights.ctypes.data, 0, weights.nbytes)
        rows = weights.reshape(-1, n, weights.size // ggml.ggml_nrows(tensor))  # [n_head, n, n_kv]
        sums[int(name.removeprefix(NAME))] = rows[:, -window:, :n].sum(axis=1)
        return True

    callback = _CALLBACK(on_tensor)
    params = {"cb_eval": ctypes.cast(callback, type(C.llama_context_default_params().cb_eval)), **params}
    with Context(model, n_ctx=params.pop("n_ctx", n), n_ubatch=n, flash_attn=False, **params) as context:
        context.decode(tokens)
    return sums
