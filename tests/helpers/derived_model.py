"""GGUF models made from another one: written once into a folder, and again when the other or the program changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from gguf import GGUFReader, GGUFValueType, GGUFWriter


def copy_metadata(reader: GGUFReader, writer: GGUFWriter, changed: dict[str, int]) -> None:
    """Everything but the tensors; the numbers named in `changed` with these values."""
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":  # GGUFWriter's own
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(key, changed[key] if key in changed else field.contents(), kind, inner)


def derived(source: Path, target: Path, version: int, write: Callable[[Path, Path], object]) -> Path:
    """`target`, written by `write(source, target)` unless its stamp says that it is there already."""
    stamp = target.with_suffix(".stamp")
    expected = hashlib.sha256(source.read_bytes() + str(version).encode()).hexdigest()
    if target.exists() and stamp.exists() and stamp.read_text() == expected:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}.unfinished")
    try:
        write(source, unfinished)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    stamp.write_text(expected)
    return target
