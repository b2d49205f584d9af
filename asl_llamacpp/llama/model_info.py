"""What a model is, by the metadata of its file: neither weights nor vocabulary are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp

from ..engine.gguf_header import GGUFHeader
from ..files.model_file import find_model
from .templates import template_error

_F16_BYTES = 2

_FILE_TYPES = {value: name for name, value in vars(llama_cpp).items() if name.startswith("LLAMA_FTYPE_")}


@dataclass(frozen=True)
class ModelInfo:
    """What a GGUF file's metadata says; None where it says nothing.

    heads, kv_heads  per layer, [layers]
    sliding_window   tokens that the sliding-window layers see
    file_bytes       size of the file, bytes
    kv_bytes_per_1k  f16 K and V of 1024 tokens in all layers, bytes: the sum over the layers of
                     2 * kv_heads * (key_length + value_length) * 1024
    chat_template    whether there is one; chat_template_error: why it cannot be read, so that no model can be opened
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
    chat_template: bool = False
    chat_template_error: str | None = None


def read_model_info(path: str | Path) -> ModelInfo:
    """The metadata of the GGUF file at `path`.

    Raises:
        FileNotFoundError, ValueError: as `find_model`, and ValueError for a damaged file.
    """
    path = find_model(path)
    header = GGUFHeader(path)

    def get(key: str) -> Any:
        return header.get(key)

    architecture = get("general.architecture") or "unknown"
    layers, embedding = get(f"{architecture}.block_count"), get(f"{architecture}.embedding_length")
    heads = _per_layer(get(f"{architecture}.attention.head_count"), layers)
    kv_heads = _per_layer(get(f"{architecture}.attention.head_count_kv"), layers) or heads
    default_length = embedding // max(heads) if embedding and any(heads) else None
    key_length = get(f"{architecture}.attention.key_length") or default_length
    value_length = get(f"{architecture}.attention.value_length") or default_length
    template = get("tokenizer.chat_template")
    kv_bytes = None
    if key_length is not None and value_length is not None:
        kv_bytes = 1024 * _F16_BYTES * sum(kv_heads) * (key_length + value_length)
    return ModelInfo(
        path=str(path),
        architecture=architecture,
        name=get("general.name"),
        parameters=header.n_parameters(),
        quantization=_quantization(get("general.file_type")),
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        embedding=embedding,
        context=get(f"{architecture}.context_length"),
        sliding_window=get(f"{architecture}.attention.sliding_window") or None,
        file_bytes=path.stat().st_size,
        chat_template=bool(template),
        chat_template_error=template_error(template) if template else None,
        kv_bytes_per_1k=kv_bytes,
    )


def _per_layer(value: int | list[int] | None, layers: int | None) -> list[int]:
    """Head counts by layer: GGUF has one number for all layers, or a list of them."""
    if isinstance(value, list):
        return [int(count) for count in value]
    return [] if value is None else [int(value)] * (layers or 1)


def _quantization(file_type: int | None) -> str | None:
    if file_type is None:
        return None
    name = _FILE_TYPES.get(file_type, f"type {file_type}")
    return name.removeprefix("LLAMA_FTYPE_").removeprefix("MOSTLY_").removeprefix("ALL_")
