"""llama_cpp's C API in a few calls: a model, a context, tokens in, logits out.

Imports nothing of asl_llamacpp, so that a script can use it with the unpatched library (LLAMA_CPP_LIB_PATH).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as C
from numpy.typing import NDArray

F16, Q8_0 = 1, 8  # ggml types of K and V


@C.llama_log_callback
def _on_log(level: int, text: bytes, _: Any) -> None:
    """Quiet: what goes wrong shows in return values."""


def _initialize() -> None:
    C.llama_log_set(_on_log, ctypes.c_void_p())
    C.llama_backend_init()


_initialize()


class Model:
    """A loaded GGUF model, on the CPU. `fields` are those of llama_model_params, such as n_gpu_layers."""

    def __init__(self, path: Path, **fields: Any) -> None:
        params = C.llama_model_default_params()
        for name, value in {"n_gpu_layers": 0, **fields}.items():
            setattr(params, name, value)
        self.pointer: Any = C.llama_model_load_from_file(str(path).encode(), params)
        if not self.pointer:
            raise ValueError(f"llama.cpp cannot load {path}")
        self.path = path
        self.n_layer: int = C.llama_model_n_layer(self.pointer)
        self.n_vocab: int = C.llama_vocab_n_tokens(C.llama_model_get_vocab(self.pointer))

    def tokens(self, n: int, seed: int = 0) -> NDArray[np.int32]:
        """n random tokens, no special ones."""
        return np.random.default_rng(seed).integers(3, self.n_vocab - 3, n).astype(np.int32)

    def close(self) -> None:
        """For tests that look at what is left; other models live as long as the process."""
        C.llama_model_free(self.pointer)
        self.pointer = None


LoadModel = Callable[[str], Model]
"""The fixture `load_model`."""


class Context:
    """A context; logits as numpy copies.

    Args:
        n_threads: one by default; threads that wait for each other are slow where others use the machine too.
        creation: the context manager to create it in, `deferred_kv()` for one that the engine can use.
        params: fields of llama_context_params.
    """

    def __init__(
        self,
        model: Model,
        n_ctx: int = 1024,
        n_ubatch: int = 512,
        flash_attn: bool = True,
        kv_type: int = F16,
        n_threads: int = 1,
        creation: AbstractContextManager[None] | None = None,
        **params: Any,
    ) -> None:
        values = C.llama_context_default_params()
        values.n_ctx, values.n_batch, values.n_ubatch = n_ctx, n_ctx, n_ubatch
        values.n_threads = values.n_threads_batch = n_threads
        values.flash_attn_type = int(flash_attn)
        values.type_k = values.type_v = kv_type
        values.swa_full = False
        for name, value in params.items():
            setattr(values, name, value)
        with creation or nullcontext():
            self.pointer: Any = C.llama_init_from_model(model.pointer, values)
        if not self.pointer:
            raise ValueError("llama.cpp cannot create this context")
        self.model = model

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.pointer:
            C.llama_free(self.pointer)
            self.pointer = None

    def clear(self) -> None:
        C.llama_memory_clear(C.llama_get_memory(self.pointer), True)

    def try_decode(
        self,
        tokens: Sequence[int] | NDArray[np.int32],
        position: int | NDArray[np.int32] = 0,
        all_outputs: bool = False,
    ) -> int:
        """llama_decode of tokens at `position` and after, or at positions that may have gaps; its return code.

        The last one's logits are kept, or all.
        """
        n = len(tokens)
        positions = position + np.arange(n) if isinstance(position, int) else position
        batch = C.llama_batch_init(n, 0, 1)
        try:
            batch.n_tokens = n
            for i, token in enumerate(tokens):
                batch.token[i], batch.pos[i] = int(token), int(positions[i])
                batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
                batch.logits[i] = all_outputs or i == n - 1
            return int(C.llama_decode(self.pointer, batch))
        finally:
            C.llama_batch_free(batch)

    def decode(
        self, tokens: Sequence[int] | NDArray[np.int32], position: int | NDArray[np.int32] = 0
    ) -> NDArray[np.float32]:
        """The last token's logits, float32 [n_vocab]."""
        status = self.try_decode(tokens, position)
        if status != 0:
            raise RuntimeError(f"llama_decode returned {status}")
        return self.logits()

    def logits(self, i: int = -1) -> NDArray[np.float32]:
        row = C.llama_get_logits_ith(self.pointer, i)
        return np.ctypeslib.as_array(row, shape=(self.model.n_vocab,)).copy()

    def decode_each(self, tokens: Sequence[int] | NDArray[np.int32], position: int) -> NDArray[np.float32]:
        """Decode tokens one by one; the logits after each: float32 [len(tokens), n_vocab]."""
        return np.stack([self.decode([token], position + i) for i, token in enumerate(tokens)])
