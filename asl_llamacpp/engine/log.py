"""llama.cpp's log: kept from the terminal, and asked for the reason of a failure."""

from __future__ import annotations

import ctypes

import llama_cpp

_ERROR = 4  # GGML_LOG_LEVEL_ERROR

_failures: list[str] = []


def _keep_failure(level: int, text: bytes, _: object) -> None:
    if level == _ERROR:
        _failures.append(text.decode(errors="replace").strip())


_log_callback = llama_cpp.llama_log_callback(_keep_failure)


def silence_llama_cpp() -> None:
    """Print nothing of llama.cpp's log any more; llama-cpp-python's verbose=False lets warnings through."""
    _failures.clear()
    llama_cpp.llama_log_set(_log_callback, ctypes.c_void_p())


def first_failure() -> str | None:
    """What llama.cpp said first about an error since it was silenced; None: nothing."""
    return _failures[0] if _failures else None
