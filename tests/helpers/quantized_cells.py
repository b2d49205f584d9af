"""What llama.cpp keeps of f16 KV cells where K and V are quantized: rotated, and then quantized by ggml itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from cffi import FFI
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from numpy.typing import NDArray

from asl_llamacpp.engine.library import LIB_DIR

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

F16 = int(GGMLQuantizationType.F16)

ffi = FFI()
ffi.cdef("""
    struct traits { void (*from_float)(const float * x, void * y, int64_t k); };

    void ggml_cpu_init(void);
    const struct traits * ggml_get_type_traits_cpu(int type);
""")
lib: Any = ffi.dlopen(str(next(LIB_DIR.glob("libggml-cpu*"))))
lib.ggml_cpu_init()


def rotate(values: Floats, head_dim: int, largest: bool) -> Floats:
    """Each block of n values through the orthonormal Walsh-Hadamard transform, its own inverse: [m, n_embd].

    n is 64 for V; for K (`largest`) the largest power of two that divides `head_dim`. Heads that 64 does not divide
    are not rotated.
    """
    if head_dim % 64:
        return values
    n = 64
    while largest and head_dim % (2 * n) == 0:
        n *= 2
    cur = values.reshape(-1, n) * np.float32(1 / np.sqrt(np.float32(n)))
    half = 1
    while half < n:
        pairs = cur.reshape(-1, n // (2 * half), 2, half)
        cur = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2).reshape(-1, n)
        half *= 2
    return cur.reshape(values.shape)


def quantize(values: Floats, ggml_type: int) -> Bytes:
    """Rows of floats as ggml stores them: [m, bytes of a row]."""
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType(ggml_type)]
    rows = np.ascontiguousarray(values, dtype=np.float32)
    out = np.empty((len(rows), rows.shape[1] // block * size), dtype=np.uint8)
    to, source = ffi.from_buffer("char[]", out), ffi.from_buffer("float[]", rows)
    lib.ggml_get_type_traits_cpu(ggml_type).from_float(source, to, rows.size)
    return out


def quantized(cells: Bytes, ggml_type: int, head_dim: int, is_k: bool) -> Bytes:
    """f16 cells [m, bytes] as a cache of `ggml_type` holds them."""
    if ggml_type == F16:
        return cells
    floats = np.ascontiguousarray(cells).view(np.float16).astype(np.float32)
    return quantize(rotate(floats, head_dim, is_k), ggml_type)


def restored(cells: Bytes, ggml_type: int, head_dim: int, is_k: bool) -> Bytes:
    """The other way: quantized cells [m, bytes] as f16 cells that hold the same values, up to f16's precision."""
    floats = dequantize(cells, GGMLQuantizationType(ggml_type))
    return rotate(floats, head_dim, is_k).astype(np.float16).view(np.uint8)
