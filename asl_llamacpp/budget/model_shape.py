"""What decides the memory of a model, from its file, without reading its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp
from gguf import GGMLQuantizationType

from ..engine.binding import LayerShape, kv_bytes, model_layers
from ..engine.support import model_without_weights, unsupported_reason
from .kv_shape import KVShape


@dataclass(frozen=True)
class ModelShape:
    """A model file.

    layers        every layer's heads, KV and sliding window
    n_embd        values of a hidden state
    n_ctx_train   context that the model was trained for, tokens
    weight_bytes  bytes of its tensors
    unsupported   why it cannot be prefilled layer by layer; None: it can
    """

    layers: tuple[LayerShape, ...]
    n_embd: int
    n_ctx_train: int
    weight_bytes: int
    unsupported: str | None


def read_shape(path: str | Path) -> ModelShape:
    """The shape of the GGUF model at `path`; ValueError if llama.cpp cannot load it."""
    with model_without_weights(path) as model:
        return shape_of_model(model)


def shape_of_model(model: Any) -> ModelShape:
    """The shape of a ctypes llama_model_p, loaded with or without its weights."""
    return ModelShape(
        layers=tuple(model_layers(model)),
        n_embd=llama_cpp.llama_model_n_embd(model),
        n_ctx_train=llama_cpp.llama_model_n_ctx_train(model),
        weight_bytes=llama_cpp.llama_model_size(model),
        unsupported=unsupported_reason(model),
    )


def stock_kv_bytes(path: str | Path, shape: KVShape) -> int:
    """Bytes of KV that stock llama.cpp allocates for the model at `path`, whatever its layers are. Allocates none.

    Raises ValueError if llama.cpp cannot load the model, or make such a context.
    """
    with model_without_weights(path) as model, unallocated_context(model, shape) as ctx:
        return kv_bytes(ctx)


@contextmanager
def unallocated_context(model: Any, shape: KVShape) -> Iterator[Any]:
    """A context (a ctypes llama_context_p) of a model that was loaded without memory, which takes none either.

    Raises ValueError if llama.cpp cannot make such a context.
    """
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = shape.n_ctx, max(shape.n_ubatch, params.n_batch), shape.n_ubatch
    params.type_k, params.type_v, params.swa_full = shape.type_k, shape.type_v, shape.swa_full
    kind = "ENABLED" if shape.flash_attn else "DISABLED"
    params.flash_attn_type = getattr(llama_cpp, f"LLAMA_FLASH_ATTN_TYPE_{kind}")
    ctx = llama_cpp.llama_init_from_model(model, params)
    if not ctx:
        raise ValueError(f"llama.cpp cannot make a context of n_ctx={shape.n_ctx} for this model")
    try:
        yield ctx
    finally:
        llama_cpp.llama_free(ctx)


def kv_type(name: str) -> int:
    """The ggml type called `name`, such as "f16" or "q8_0"; ValueError if there is none."""
    try:
        return int(GGMLQuantizationType[name.upper()])
    except KeyError:
        raise ValueError(f"unknown KV type {name!r}: use f16, bf16, f32, q8_0, q5_1, q5_0, q4_1 or q4_0") from None
