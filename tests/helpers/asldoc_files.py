"""Files of saved documents, written without the package: the layout once more, so that any content can be in one."""

from __future__ import annotations

import json
import struct
from typing import Any

import xxhash


def start_bytes(text: bytes, n_bytes: int, version: int = 1, n_text: int | None = None) -> bytes:
    """The first 64 bytes, with right checksums over whatever they say."""
    n_text = len(text) if n_text is None else n_text
    start = b"\x89ASLDOC\n" + struct.pack("<QQQ", version, n_text, n_bytes) + xxhash.xxh3_128(text).digest()
    return start + xxhash.xxh3_128(start).digest()


def file_bytes(content: Any, arrays: bytes = b"", version: int = 1) -> bytes:
    """A file with this JSON text, or content to make it of, and these bytes where the arrays are."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    filled = text + bytes(-len(text) % 64)
    return start_bytes(text, 64 + len(filled) + len(arrays), version) + filled + arrays


def entry(data: bytes, **changes: Any) -> dict[str, Any]:
    """An entry of the table for bytes at the beginning of the arrays, with changes."""
    right = {"dtype": "uint8", "shape": [len(data)], "offset": 0, "checksum": xxhash.xxh3_128(data).hexdigest()}
    return {**right, **changes}
