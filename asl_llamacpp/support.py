"""Whether a model file can be prefilled layer by layer, without reading its weights."""

from __future__ import annotations

import llama_cpp

from .engine.binding import model_error


def asl_unsupported_reason(model_path: str) -> str | None:
    """Why ASL cannot serve the GGUF model at `model_path`, or None if it can.

    Raises:
        ValueError: llama.cpp cannot load the file.
    """
    params = llama_cpp.llama_model_default_params()
    params.no_alloc = True
    params.load_mode = llama_cpp.LLAMA_LOAD_MODE_NONE  # no_alloc and mmap exclude each other
    params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(model_path.encode(), params)
    if not model:
        raise ValueError(f"llama.cpp cannot load {model_path}: not a GGUF model of a known architecture")
    try:
        return model_error(model)
    finally:
        llama_cpp.llama_model_free(model)
