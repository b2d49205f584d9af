"""Models: found, asked what their file says, and opened without chatter."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp

from ..files.model_file import default_model, find_model
from ..llama.llama import Llama

__all__ = [
    "ModelInfo",
    "default_model",
    "find_model",
    "open_model",
    "read_model_info",
    "silence_llama_cpp",
    "trained_context",
]

_F16_BYTES = 2
_GGML_LOG_LEVEL_ERROR = 4

_failures: list[str] = []


def _keep_failure(level: int, text: bytes, _: object) -> None:
    if level == _GGML_LOG_LEVEL_ERROR:
        _failures.append(text.decode(errors="replace").strip())


_log_callback = llama_cpp.llama_log_callback(_keep_failure)


def silence_llama_cpp() -> None:
    """Print nothing of llama.cpp's log any more; llama-cpp-python's verbose=False lets warnings through."""
    _failures.clear()
    llama_cpp.llama_log_set(_log_callback, ctypes.c_void_p())


def open_model(path: str | Path, **options: Any) -> Llama:
    """`Llama(path, **options)` that prints nothing: why llama.cpp failed goes into the exception.

    Raises:
        ValueError: the model cannot be loaded, or its context not be made; else as `Llama`.
    """
    silence_llama_cpp()
    try:
        return Llama(str(path), verbose=False, **options)
    except (ValueError, RuntimeError) as error:
        if not _failures:
            raise
        raise ValueError(f"{error} ({_failures[0]})") from None


def trained_context(llm: Llama) -> int:
    """Tokens that an open model was trained for, 0: its file does not say."""
    architecture = llm.metadata.get("general.architecture")
    return int(llm.metadata.get(f"{architecture}.context_length", 0))


@dataclass(frozen=True)
class ModelInfo:
    """What a GGUF file's metadata says; None where it says nothing.

    heads, kv_heads  per layer, [layers]
    sliding_window   tokens that the sliding-window layers see
    file_bytes       size of the file, bytes
    kv_bytes_per_1k  f16 K and V of 1024 tokens in all layers, bytes: the sum over the layers of
                     2 * kv_heads * (key_length + value_length) * 1024
    """

    path: str
    architecture: str
    name: str | None
    parameters: int
    quantization: str | None
    layers: int | None
    heads: list[int]
    kv_heads: list[int]
    embedding: int | None
    context: int | None
    sliding_window: int | None
    file_bytes: int
    kv_bytes_per_1k: int | None


def read_model_info(path: str | Path) -> ModelInfo:
    """The metadata of the GGUF file at `path`.

    Raises:
        FileNotFoundError, ValueError: as `find_model`, and ValueError for a damaged file.
    """
    from gguf import GGUFReader

    path = find_model(path)
    try:
        reader = GGUFReader(path)
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise ValueError(f"{path} is damaged or of an unknown GGUF version: {error}") from None

    def get(key: str) -> Any:
        field = reader.get_field(key)
        return None if field is None else field.contents()

    architecture = get("general.architecture") or "unknown"
    layers, embedding = get(f"{architecture}.block_count"), get(f"{architecture}.embedding_length")
    heads = _per_layer(get(f"{architecture}.attention.head_count"), layers)
    kv_heads = _per_layer(get(f"{architecture}.attention.head_count_kv"), layers) or heads
    default_length = embedding // max(heads) if embedding and any(heads) else None
    key_length = get(f"{architecture}.attention.key_length") or default_length
    value_length = get(f"{architecture}.attention.value_length") or default_length
    kv_bytes = None
    if key_length is not None and value_length is not None:
        kv_bytes = 1024 * _F16_BYTES * sum(kv_heads) * (key_length + value_length)
    return ModelInfo(
        path=str(path),
        architecture=architecture,
        name=get("general.name"),
        parameters=sum(int(tensor.n_elements) for tensor in reader.tensors),
        quantization=_quantization(get("general.file_type")),
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        embedding=embedding,
        context=get(f"{architecture}.context_length"),
        sliding_window=get(f"{architecture}.attention.sliding_window") or None,
        file_bytes=path.stat().st_size,
        kv_bytes_per_1k=kv_bytes,
    )


def _per_layer(value: int | list[int] | None, layers: int | None) -> list[int]:
    """Head counts by layer: GGUF has one number for all layers, or a list of them."""
    if isinstance(value, list):
        return [int(count) for count in value]
    return [] if value is None else [int(value)] * (layers or 1)


def _quantization(file_type: int | None) -> str | None:
    from gguf import LlamaFileType

    if file_type is None:
        return None
    try:
        return LlamaFileType(file_type).name.removeprefix("MOSTLY_").removeprefix("ALL_")
    except ValueError:
        return f"type {file_type}"
