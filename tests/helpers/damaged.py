"""Damaging files on purpose: bits, cuts, pieces doubled and left out, also within archives."""

from __future__ import annotations

import io
import random
import re
import zipfile

from document_files import zip_bytes

_PIECE = re.compile(rb'"[^"]*"|<[^>]*>|\w+')
_NUMBERS = [b"0", b"-1", b"4294967295", b"99999999999999999999", b"1e308", b""]


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The file with one to eight things wrong in it; of an archive, often a part before it is packed."""
    if data.startswith(b"PK") and chance.random() < 0.8:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts: dict[str, str | bytes] = {part: archive.read(part) for part in archive.namelist()}
        for _ in range(chance.choice([1, 1, 2, 3])):
            part = chance.choice([name for name in parts if name != "mimetype"])
            content = parts[part]
            assert isinstance(content, bytes)
            if chance.random() < 0.05:
                del parts[part]
                break
            parts[part] = _damaged(content, chance)
        return zip_bytes(parts)
    for _ in range(chance.choice([1, 1, 2, 4, 8])):
        data = _damaged(data, chance)
    return data


def _damaged(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    kind = chance.randrange(7)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
    if kind == 2:
        end = min(len(data), at + chance.choice([1, 4, 64]))
        return data[:at] + data[end:]
    pieces = [found.span() for found in _PIECE.finditer(data[:20_000])]
    if not pieces:
        return data + b"x"
    start, end = chance.choice(pieces)
    if kind == 3:
        return data[:start] + data[start:end] * chance.choice([2, 3, 500]) + data[end:]
    if kind == 4:
        return data[:start] + data[end:]
    if kind == 5:
        other = chance.choice(pieces)
        return data[:start] + data[other[0] : other[1]] + data[end:]
    numbers = [found.span() for found in re.finditer(rb"\d+", data[:20_000])]
    start, end = chance.choice(numbers or [(at, at)])
    return data[:start] + chance.choice(_NUMBERS) + data[end:]
