"""cffi binding of ggml's reader of GGUF files: what stands in front of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from cffi import FFI

from .library import library_path
from .log import first_failure

Value = bool | int | float | str

_BOOL, _STRING, _ARRAY = 7, 8, 9
_NUMBERS = {
    **{0: "uint8_t", 1: "int8_t", 2: "uint16_t", 3: "int16_t", 4: "uint32_t", 5: "int32_t", 6: "float"},
    **{_BOOL: "int8_t", 10: "uint64_t", 11: "int64_t", 12: "double"},
}
_MAX_DIMS = 4

ffi = FFI()
ffi.cdef("""
    struct gguf_init_params { bool no_alloc; void ** ctx; };

    struct gguf_context * gguf_init_from_file(const char * fname, struct gguf_init_params params);
    void                  gguf_free          (struct gguf_context * ctx);

    int64_t      gguf_find_key    (const struct gguf_context * ctx, const char * key);
    int          gguf_get_kv_type (const struct gguf_context * ctx, int64_t key);
    int          gguf_get_arr_type(const struct gguf_context * ctx, int64_t key);
    const char * gguf_get_val_str (const struct gguf_context * ctx, int64_t key);
    const void * gguf_get_val_data(const struct gguf_context * ctx, int64_t key);
    size_t       gguf_get_arr_n   (const struct gguf_context * ctx, int64_t key);
    const char * gguf_get_arr_str (const struct gguf_context * ctx, int64_t key, size_t i);
    const void * gguf_get_arr_data(const struct gguf_context * ctx, int64_t key);

    int64_t         gguf_get_n_tensors  (const struct gguf_context * ctx);
    const char    * gguf_get_tensor_name(const struct gguf_context * ctx, int64_t tensor);
    const int64_t * gguf_get_tensor_ne  (const struct gguf_context * ctx, int64_t tensor);
""")
lib: Any = ffi.dlopen(str(library_path("ggml-base")))


class GGUFHeader:
    """The keys of a GGUF file, and the shapes of its tensors. ValueError: it is damaged, or of another version."""

    def __init__(self, path: Path) -> None:
        params = ffi.new("struct gguf_init_params *", {"no_alloc": True})
        context = lib.gguf_init_from_file(str(path).encode(), params[0])
        if context == ffi.NULL:
            reason = first_failure()
            raise ValueError(f"{path} is damaged, or of an unknown GGUF version" + (f" ({reason})" if reason else ""))
        self._context = ffi.gc(context, lib.gguf_free)

    def get(self, key: str) -> Value | list[Value] | None:
        """The value of a key, or its values where it is an array; None: there is no such key."""
        at = lib.gguf_find_key(self._context, key.encode())
        if at < 0:
            return None
        kind = lib.gguf_get_kv_type(self._context, at)
        if kind == _STRING:
            return _text(lib.gguf_get_val_str(self._context, at))
        if kind != _ARRAY:
            return _numbers(kind, lib.gguf_get_val_data(self._context, at), 1)[0]
        n = lib.gguf_get_arr_n(self._context, at)
        kind = lib.gguf_get_arr_type(self._context, at)
        if kind == _STRING:
            return [_text(lib.gguf_get_arr_str(self._context, at, i)) for i in range(n)]
        return _numbers(kind, lib.gguf_get_arr_data(self._context, at), n)

    def n_parameters(self) -> int:
        """Values of all tensors together."""
        return sum(prod(shape) for _, shape in self.tensors())

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of each tensor, four sizes, in ggml's order: values of a row first."""
        for i in range(lib.gguf_get_n_tensors(self._context)):
            name = _text(lib.gguf_get_tensor_name(self._context, i))
            yield name, tuple(lib.gguf_get_tensor_ne(self._context, i)[0:_MAX_DIMS])


def _text(value: Any) -> str:
    return str(ffi.string(value).decode(errors="replace"))


def _numbers(kind: int, data: Any, n: int) -> list[Value]:
    values = list(ffi.cast(f"{_NUMBERS[kind]} *", data)[0:n])
    return [bool(value) for value in values] if kind == _BOOL else values
