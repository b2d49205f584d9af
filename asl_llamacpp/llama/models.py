"""Models: found, and opened without chatter."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, overload

from ..engine.log import first_failure, silence_llama_cpp
from ..files.model_file import default_model, find_model
from .llama import Llama

__all__ = ["default_model", "find_model", "open_model", "trained_context"]


M = TypeVar("M", bound=Llama)


@overload
def open_model(path: str | Path, **options: Any) -> Llama: ...
@overload
def open_model(path: str | Path, kind: type[M], **options: Any) -> M: ...
def open_model(path: str | Path, kind: type[Llama] = Llama, **options: Any) -> Llama:
    """`kind(path, **options)`, a `Llama`, that prints nothing: why llama.cpp failed goes into the exception.

    Raises:
        ValueError: the model cannot be loaded, or its context not be made; else as `Llama`.
    """
    silence_llama_cpp()
    try:
        return kind(str(path), verbose=False, **options)
    except (ValueError, RuntimeError) as error:
        reason = first_failure()
        if reason is None:
            raise
        raise ValueError(f"{error} ({reason})") from None


def trained_context(llm: Llama) -> int:
    """Tokens that an open model was trained for, 0: its file does not say."""
    architecture = llm.metadata.get("general.architecture")
    return int(llm.metadata.get(f"{architecture}.context_length", 0))
