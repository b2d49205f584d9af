"""Which models can be prefilled layer by layer: what the engine says of them, and the list of proven architectures."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import llama_cpp

from .binding import model_error
from .log import first_failure


@contextmanager
def model_without_weights(path: str | Path, n_gpu_layers: int = 0) -> Iterator[Any]:
    """The model (a ctypes llama_model_p) with its metadata and no memory; ValueError if llama.cpp cannot load it.

    `n_gpu_layers`: as for `Llama`: where its layers would lie.
    """
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.no_alloc = True
    params.load_mode = llama_cpp.LLAMA_LOAD_MODE_NONE  # no_alloc and mmap exclude each other
    params.n_gpu_layers = n_gpu_layers
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        reason = first_failure() or "not a GGUF model of a known architecture"
        raise ValueError(f"llama.cpp cannot load {path}: {reason}")
    try:
        yield model
    finally:
        llama_cpp.llama_model_free(model)


def asl_unsupported_reason(model_path: str) -> str | None:
    """Why ASL cannot serve the GGUF model at `model_path`, or None if it can; its weights are not read.

    Raises:
        ValueError: llama.cpp cannot load the file.
    """
    with model_without_weights(model_path) as model:
        return unsupported_reason(model)


def unsupported_reason(model: Any) -> str | None:
    """Why ASL cannot serve `model` (a ctypes llama_model_p), or None if it can."""
    return model_error(model) or architecture_error(_architecture(model))


def architecture_error(arch: str) -> str | None:
    """Why models of this architecture, as GGUF names it, are refused; None if they are not."""
    if arch in proven_architectures():
        return None
    return f"architecture '{arch}' was not proven to run layer by layer"


@cache
def proven_architectures() -> dict[str, dict[str, Any]]:
    """Architectures whose layer-wise prefill equals llama.cpp's, from architectures.json.

    Of each, `sliding_window`: whether some of its layers have one, and `feed_forward`: "dense", "experts" or both. The
    file is written by `make architectures` and proven by tests/engine/test_architectures.py.
    """
    text = resources.files(__package__).joinpath("architectures.json").read_text(encoding="utf-8")
    architectures: dict[str, dict[str, Any]] = json.loads(text)
    return architectures


def _architecture(model: Any) -> str:
    name = ctypes.create_string_buffer(256)
    llama_cpp.llama_model_meta_val_str(model, b"general.architecture", name, len(name))
    return name.value.decode(errors="replace")
