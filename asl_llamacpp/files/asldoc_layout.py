"""Where everything is in the file of a saved document. Little-endian throughout:

    0   8 bytes   MAGIC
    8   uint64    format version
    16  uint64    bytes of the JSON text
    24  uint64    bytes of the whole file
    32  16 bytes  xxh3_128 of the JSON text
    48  16 bytes  xxh3_128 of the 48 bytes before
    64  JSON      {"header": ..., "arrays": {name: {"dtype": ..., "shape": [...], "offset": ..., "checksum": ...}}}

The arrays follow in this order, each at the next multiple of 64 bytes, zeros in between; "offset" counts from the
first such multiple after the text, and the file ends with the last array. All versions share the first 64 bytes, so a
newer file can be told from a damaged one.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

FORMAT_VERSION = 1
MAGIC = b"\x89ASLDOC\n"  # no text begins so, and a transfer in text mode breaks it
TEXT_AT = 64
MAX_TEXT = 64 << 20
DTYPES = {name: np.dtype(name).newbyteorder("<") for name in ("uint8", "int32", "int64", "float16", "float32")}

_ALIGNMENT = 64
_START = struct.Struct("<8sQQQ16s")
_ENTRY = {"dtype", "shape", "offset", "checksum"}

Entries = dict[str, dict[str, Any]]
"""The table of arrays, by name."""


class DocumentFileError(ValueError):
    """A file is no saved document, or damaged, or of a newer version; the message says which, and what to do."""


def refusal(path: Path, what: str, remedy: str = "read the document anew and save it again") -> DocumentFileError:
    """The error for the file `path`, which `what` says something about."""
    return DocumentFileError(f"{path} {what}; {remedy}")


def aligned(n_bytes: int) -> int:
    """The next multiple of 64 bytes."""
    return -(-n_bytes // _ALIGNMENT) * _ALIGNMENT


def json_text(header: dict[str, Any], entries: Entries) -> bytes:
    """The JSON text; ValueError or TypeError for what JSON has not."""
    return json.dumps({"header": header, "arrays": entries}, allow_nan=False).encode("ascii")


def pack_start(text: bytes, n_bytes: int) -> bytes:
    """The first 64 bytes of a file of `n_bytes` with this JSON text."""
    start = _START.pack(MAGIC, FORMAT_VERSION, len(text), n_bytes, xxhash.xxh3_128_digest(text))
    return start + xxhash.xxh3_128_digest(start)


def read_start(path: Path, data: NDArray[np.uint8]) -> tuple[int, bytes]:
    """Bytes of the JSON text, and its checksum. Newer versions are told here, before anything else is read."""
    start = data[:TEXT_AT].tobytes()
    if start[: len(MAGIC)] != MAGIC[: len(start)]:
        raise refusal(path, "is not a saved document, or damaged at its beginning")
    if len(start) < TEXT_AT:
        raise refusal(path, f"is cut off after {len(start)} bytes")
    if xxhash.xxh3_128_digest(start[: _START.size]) != start[_START.size :]:
        raise refusal(path, "is damaged in its first 64 bytes")
    _, format_version, n_text, n_bytes, checksum = _START.unpack_from(start)
    if format_version > FORMAT_VERSION:
        what = f"is a saved document of format version {format_version}, and this version of asl_llamacpp reads"
        raise refusal(path, f"{what} {FORMAT_VERSION}", "update asl_llamacpp, or read the document anew")
    if len(data) != n_bytes:
        what = "cut off" if len(data) < n_bytes else "continued by something else"
        raise refusal(path, f"is {what}: {len(data)} bytes long, but was saved with {n_bytes}")
    if format_version < 1 or n_text > MAX_TEXT:
        raise refusal(path, "is damaged: its first 64 bytes name an impossible version or length")
    return n_text, checksum


def read_text(path: Path, data: NDArray[np.uint8]) -> tuple[dict[str, Any], dict[str, Any], int]:
    """The header, the table of arrays (its entries yet unchecked), and the byte where the arrays begin."""
    n_text, checksum = read_start(path, data)
    text = data[TEXT_AT : TEXT_AT + n_text].tobytes()
    if xxhash.xxh3_128_digest(text) != checksum:
        raise refusal(path, "is damaged in its header")
    arrays_at = aligned(TEXT_AT + n_text)
    check_zeros(path, data[TEXT_AT + n_text : arrays_at])
    try:
        content = json.loads(text)
        header, entries = content["header"], content["arrays"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise refusal(path, "has a header that is not of this format") from None
    if not isinstance(header, dict) or not isinstance(entries, dict):
        raise refusal(path, "has a header that is not of this format")
    return header, entries, arrays_at


def check_zeros(path: Path, gap: NDArray[np.uint8]) -> None:
    """The bytes between two parts are under no checksum: they must be zeros."""
    if gap.any():
        raise refusal(path, "is damaged between its parts")


def view_array(path: Path, data: NDArray[np.uint8], name: str, entry: Any, begin: int, arrays_at: int) -> NDArray[Any]:
    """The array of one entry of the table, which must begin at the byte `begin`; its checksum is not looked at."""
    wrong = refusal(path, f"has a header that is wrong about the array {name!r}")
    if not isinstance(entry, dict) or entry.keys() != _ENTRY:
        raise wrong
    shape, dtype = entry["shape"], DTYPES.get(str(entry["dtype"]))
    if dtype is None or entry["offset"] != begin - arrays_at or not isinstance(shape, list):
        raise wrong
    if not all(type(n) is int and n >= 0 for n in shape):  # True is an int too
        raise wrong
    try:
        return data[begin : begin + math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
    except ValueError:  # the file ends before, or numpy has no such shape
        raise wrong from None
