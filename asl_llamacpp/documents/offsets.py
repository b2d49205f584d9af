"""Where in a text each token begins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_REACH = 256
"""A piece is searched at most so many bytes ahead of the one before."""


def char_offsets(text: str, pieces: Sequence[bytes]) -> NDArray[np.int64]:
    """Character offset in `text` where each token begins, int64 [len(pieces) + 1]; the last entry is len(text).

    `pieces` are the bytes of each token. A character whose bytes lie in several tokens belongs to the token with its
    first byte, so the others may be empty. Together the pieces are the text, or the text with one space before it, as
    SentencePiece adds it; both cases are exact. Pieces that were normalized (case, spaces, accents) are aligned as well
    as it goes, and what is not found lies in proportion between its neighbours. Nothing raises: the offsets never
    decrease, and stay within the text.
    """
    data = text.encode("utf-8", "surrogatepass")
    begins, joined = joined_begins(pieces)
    exact = exact_begins(data, begins, joined)
    if exact is None:
        exact = _search(data, pieces, begins)
    offsets: NDArray[np.int64] = _characters_before(data)[exact]
    offsets[-1] = len(text)
    return offsets


def joined_begins(pieces: Sequence[bytes]) -> tuple[NDArray[np.int64], bytes]:
    """Where each piece begins in all of them joined, int64 [len(pieces) + 1], and that."""
    begins = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces)), out=begins[1:])
    return begins, b"".join(pieces)


def exact_begins(data: bytes, begins: NDArray[np.int64], joined: bytes) -> NDArray[np.int64] | None:
    """Where they begin in `data`, if they are that, or that with one space before it; else None."""
    if joined == data:
        return begins
    return np.maximum(begins - 1, 0) if joined == b" " + data else None


def _characters_before(data: bytes) -> NDArray[np.int64]:
    """How many characters begin before each byte of UTF-8, int64 [len(data) + 1]."""
    starts = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80
    counts = np.zeros(len(data) + 1, np.int64)
    np.cumsum(starts, out=counts[1:])
    return counts


def _search(data: bytes, pieces: Sequence[bytes], begins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Byte offsets in `data` of pieces that do not match it exactly; `begins` are their offsets among the pieces."""
    lower = data.lower()
    at = skipped = 0
    known, found = [0], [0]
    for index, piece in enumerate(pieces):
        key = piece.strip().lower()
        # A short piece is everywhere: one that jumps far would drag all that follow behind it.
        reach = min(4 * len(key) + 2 * skipped, _REACH)
        place = lower.find(key, at, at + reach + len(key)) if key else -1
        if place < 0:
            skipped += len(piece)
            continue
        begin = place
        while begin > at and piece[:1].isspace() and data[begin - 1 : begin].isspace():
            begin -= 1
        known.append(int(begins[index]))
        found.append(begin)
        at, skipped = place + len(key), 0
        known.append(int(begins[index + 1]))
        found.append(at)
    if skipped:
        known.append(int(begins[-1]))
        found.append(len(data))
    return np.interp(begins, known, found).astype(np.int64)
