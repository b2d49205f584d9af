"""Hashes of whole files, remembered as long as a file is the same to the system: a model has many gigabytes."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs
import xxhash

from .replace_file import replacing

PREFIX = "xxh3:"
_PIECE = 1 << 22
_MOST = 256
"""Files that are remembered; the ones that were hashed first go first."""
_SETTLED = 2.0
"""Seconds since the last change, after which another change cannot have the same time."""


def file_hash(path: str | os.PathLike[str]) -> str:
    """Hash of every byte of a file: "xxh3:" and 32 hexadecimal digits.

    It is read once, then remembered in the user's cache folder by path, size, times of change and inode.

    Raises:
        OSError: it cannot be read.
    """
    found = Path(os.path.realpath(path))
    key, memory = _key(found), _memory()
    known = _remembered(memory)
    entry = known.get(str(found))
    if isinstance(entry, dict) and entry.get("key") == key and isinstance(entry.get("hash"), str):
        return str(entry["hash"])
    digest = xxhash.xxh3_128()
    with found.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    hashed = PREFIX + digest.hexdigest()
    if _key(found) == key and time.time() - max(key[1], key[2]) / 1e9 > _SETTLED:
        known.pop(str(found), None)
        _remember(memory, {**known, str(found): {"key": key, "hash": hashed}})
    return hashed


def _key(path: Path) -> list[int]:
    seen = path.stat()
    return [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]


def _memory() -> Path:
    return platformdirs.user_cache_path("asl_llamacpp", appauthor=False) / "hashes.json"


def _remembered(memory: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        known = json.loads(memory.read_bytes())
        if isinstance(known, dict):
            return known
    return {}


def _remember(memory: Path, known: dict[str, Any]) -> None:
    """What cannot be written is hashed again next time."""
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        kept = list(known.items())[-_MOST:]
        with replacing(memory) as file:
            file.write(json.dumps(dict(kept)).encode())
