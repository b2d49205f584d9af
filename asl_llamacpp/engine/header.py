"""layerwise.h through cffi: the library, and pointers of the ctypes bindings as it takes them."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from cffi import FFI

from .library import open_library


def _cdef() -> str:
    header = Path(__file__).with_name("layerwise.h").read_text(encoding="utf-8")
    body = header.split("cdef-begin", 1)[1].split("\n", 1)[1].rsplit("// cdef-end", 1)[0]
    return "struct llama_context; struct llama_model;\n" + body.replace("LLAMA_API ", "")


ffi = FFI()
ffi.cdef(_cdef())
lib: Any = open_library(ffi)


def c_model(model: Any) -> Any:
    """A ctypes llama_model_p for `lib`."""
    return ffi.cast("struct llama_model *", _address(model))


def c_context(ctx: Any) -> Any:
    """A ctypes llama_context_p for `lib`."""
    return ffi.cast("struct llama_context *", _address(ctx))


def _address(pointer: Any) -> int:
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0
