"""Saved documents: a JSON header and named arrays in one file, all under checksums, mapped into memory when opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
import xxhash
from numpy.typing import NDArray

from .asldoc_layout import (
    DTYPES,
    FORMAT_VERSION,
    MAX_TEXT,
    TEXT_AT,
    DocumentFileError,
    Entries,
    aligned,
    check_zeros,
    json_text,
    pack_start,
    read_text,
    refusal,
    view_array,
)
from .replace_file import replacing

__all__ = [
    "FORMAT_VERSION",
    "DocumentFile",
    "DocumentFileError",
    "DocumentMismatchError",
    "check_matches",
    "open_document_file",
    "write_document_file",
]

_WRITE_ITEMS = 1 << 20
_HASH_BYTES = 16 << 20


class DocumentMismatchError(DocumentFileError):
    """A document was saved with another model, tokenizer, context setting or build."""


@dataclass(frozen=True, eq=False)
class DocumentFile:
    """An opened file: `header` as it was given, and `arrays` by name, read-only views of one map of the file.

    The map holds as long as any of the arrays, also if the file is replaced or removed meanwhile. Only a program that
    shortens the file in its place takes the ground from under it, as with any mapped file; `write_document_file`
    never does.
    """

    path: Path
    n_bytes: int
    header: dict[str, Any]
    arrays: Mapping[str, NDArray[Any]]


def write_document_file(
    path: str | os.PathLike[str], header: dict[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> int:
    """Write `header` and `arrays` to `path`, and return the bytes of the file.

    The path holds its old content until the new one is on the disk, whatever happens (see `replacing`). Arrays are
    written from where they are, which may be the map of the very file that is replaced.

    Args:
        header: what `json.dumps` takes; it comes back as `json.loads` gives it.
        arrays: uint8, int32, int64, float16 or float32, in any byte order and memory layout.

    Raises:
        TypeError: an array is of another type, or the header is no dict or has what JSON has not.
        ValueError: the header is larger than 64 MiB of text, or has infinities, NaN or itself inside.
        OSError: the file cannot be written; FileExistsError if a folder or a device is in its place.
    """
    if not isinstance(header, dict):
        raise TypeError(f"header is of type {type(header).__name__}, not a dict")
    sources = {name: np.asarray(array) for name, array in arrays.items()}
    entries: Entries = {}
    end = 0
    for name, array in sources.items():
        if (dtype := array.dtype.name) not in DTYPES:
            raise TypeError(f"array {name!r} is of type {dtype}: a saved document holds only {', '.join(DTYPES)}")
        offset = aligned(end)
        # what the checksum is shows when the array is written; how long it is has to be known before
        entries[name] = {"dtype": dtype, "shape": list(array.shape), "offset": offset, "checksum": 32 * "0"}
        end = offset + array.nbytes
    n_text = len(json_text(header, entries))
    if n_text > MAX_TEXT:
        raise ValueError(f"the header takes {n_text} bytes, more than {MAX_TEXT}: put what is large into an array")
    arrays_at = aligned(TEXT_AT + n_text)
    n_bytes = arrays_at + end
    with replacing(path) as file:
        for name, array in sources.items():
            file.seek(arrays_at + entries[name]["offset"])
            entries[name]["checksum"] = _write_array(file, array)
        file.truncate(n_bytes)  # without arrays, or with an empty one at the end, nothing was written so far
        text = json_text(header, entries)
        file.seek(0)
        file.write(pack_start(text, n_bytes) + text)
    return n_bytes


def open_document_file(path: str | os.PathLike[str]) -> DocumentFile:
    """Check every byte of a file that `write_document_file` wrote, and map it.

    Raises:
        DocumentFileError: it is no such file, or damaged, or cut off, or of a newer version.
        FileNotFoundError, PermissionError: the file cannot be read.
    """
    path = Path(path)
    if not stat.S_ISREG(path.stat().st_mode):  # before it is opened: that would wait for ever at a pipe
        raise refusal(path, "is a folder or a device, not a saved document")
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise refusal(path, "is empty, not a saved document")
        data: NDArray[np.uint8] = np.memmap(file, np.uint8, "r").view(np.ndarray)
    header, entries, arrays_at = read_text(path, data)
    arrays: dict[str, NDArray[Any]] = {}
    end = arrays_at
    for name, entry in entries.items():
        begin = aligned(end)
        arrays[name] = array = view_array(path, data, name, entry, begin, arrays_at)
        check_zeros(path, data[end:begin])
        end = begin + array.nbytes
        if _checksum(data[begin:end]) != entry["checksum"]:
            raise refusal(path, f"is damaged in the array {name!r}")
    if end != len(data):
        raise refusal(path, f"is damaged: {len(data)} bytes long, but its arrays end at {end}")
    return DocumentFile(path, len(data), header, MappingProxyType(arrays))


def check_matches(saved: Mapping[str, str], own: Mapping[str, str], path: str | os.PathLike[str]) -> None:
    """DocumentMismatchError naming the first thing that differs, or that only one of the two has."""
    for name in dict.fromkeys((*own, *saved)):
        if saved.get(name) != own.get(name):
            was, now = (repr(values[name]) if name in values else "none" for values in (saved, own))
            what = f"belongs to another {name}: it was saved with {was}, this one is {now}"
            raise DocumentMismatchError(f"{os.fspath(path)} {what}; use the same one, or read the document anew")


def _write_array(file: BinaryIO, array: NDArray[Any]) -> str:
    """Write an array in C order, and return its checksum; only what lies otherwise is copied, piece by piece."""
    digest = xxhash.xxh3_128()
    pieces = np.nditer(
        array,
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_dtypes=[DTYPES[array.dtype.name]],
        order="C",
        casting="equiv",
        buffersize=_WRITE_ITEMS,
    )
    with pieces:
        for piece in pieces:
            data = np.ascontiguousarray(piece).view(np.uint8).data
            digest.update(data)
            file.write(data)
    return digest.hexdigest()


def _checksum(data: NDArray[np.uint8]) -> str:
    digest = xxhash.xxh3_128()
    for begin in range(0, len(data), _HASH_BYTES):  # in pieces, so that it can be interrupted
        digest.update(data[begin : begin + _HASH_BYTES].data)
    return digest.hexdigest()
