"""Which bytes of a text each token is, so that what is known of one model's tokens can be said of another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..selection.transfer import Spans
from .offsets import exact_begins, joined_begins

_AGREE = 8
"""Bytes that must be the same behind a difference, for it to be over."""
_FARTHEST = 64
"""Bytes that a difference may have, in the text and in the tokens together."""
_MOST_CHANGED = 16
"""One of so many bytes may differ: a vocabulary that lacks a letter is followed, one that rewrites texts is not."""


class _Hole(NamedTuple):
    """What differs: `[begin, end)` of the joined pieces stands for `[text_begin, text_end)`."""

    begin: int
    end: int
    text_begin: int
    text_end: int


def byte_spans(text: str | bytes, pieces: Sequence[bytes], tokenizer: str) -> Spans:
    """The bytes of `text`, a str in UTF-8, that each token is, int64 [n, 2]; see `transfer`.

    `pieces` are the bytes of each token. Together they are the text, or the text with one space before it: each byte
    then has one owner, also within a character. Where a vocabulary lacks characters, or writes some in another way,
    the tokens that stand for these have all of their bytes.

    Raises ValueError, naming `tokenizer`, where its tokens differ from the text in more than that.
    """
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    begins, joined = joined_begins(pieces)
    exact = exact_begins(data, begins, joined)
    if exact is not None:
        return np.stack([exact[:-1], exact[1:]], axis=1)
    holes = _differences(data, joined, tokenizer)
    edges = np.array([(0, 0, 0, 0), *holes], dtype=np.int64)
    firsts, ends = begins[:-1], begins[1:]
    empty = firsts == ends
    lasts = np.where(empty, firsts, ends - 1)
    at = edges[np.searchsorted(edges[:, 0], firsts, side="right") - 1]  # the hole at a piece's first byte, or before it
    to = edges[np.searchsorted(edges[:, 0], lasts, side="right") - 1]
    stands_for_dropped = empty & (at[:, 0] == firsts)
    found = np.empty((len(pieces), 2), dtype=np.int64)
    found[:, 0] = np.where((firsts < at[:, 1]) | stands_for_dropped, at[:, 2], firsts - at[:, 1] + at[:, 3])
    found[:, 1] = np.where(ends <= to[:, 1], to[:, 3], ends - to[:, 1] + to[:, 3])
    return found


def _differences(data: bytes, joined: bytes, tokenizer: str) -> list[_Hole]:
    """Where the joined pieces are not the text, in order. ValueError: in too much of it."""
    holes: list[_Hole] = []
    changed = 0
    i = j = _same(joined, 0, data, 0)
    while i < len(joined) or j < len(data):
        skipped = _agreement(joined[i : i + _FARTHEST + _AGREE], data[j : j + _FARTHEST + _AGREE])
        changed += _FARTHEST if skipped is None else sum(skipped)
        if skipped is None or changed > max(_FARTHEST, len(data) // _MOST_CHANGED):
            raise ValueError(
                f"the tokens of {tokenizer} are not the text: at byte {j} they say {joined[i : i + 16]!r} for "
                f"{data[j : j + 16]!r}. Its vocabulary rewrites texts, so another model's tokens cannot be found in "
                "it: use a model with a byte-level or SentencePiece vocabulary"
            )
        holes.append(_Hole(i, i + skipped[0], j, j + skipped[1]))
        i, j = i + skipped[0], j + skipped[1]
        n = _same(joined, i, data, j)
        i, j = i + n, j + n
    return holes


def _same(a: bytes, i: int, b: bytes, j: int) -> int:
    """How many bytes of `a` from `i` on are those of `b` from `j` on."""
    begin, step = i, 64
    while True:
        left, right = a[i : i + step], b[j : j + step]
        if left != right:
            n = min(len(left), len(right))
            unlike = np.frombuffer(left[:n], np.uint8) != np.frombuffer(right[:n], np.uint8)
            return i - begin + (int(unlike.argmax()) if unlike.any() else n)
        if not left:
            return i - begin
        i, j, step = i + len(left), j + len(left), 2 * step


def _agreement(joined: bytes, data: bytes) -> tuple[int, int] | None:
    """The fewest bytes to leave out of both for the next ones to be the same, or for both to be at their end."""
    for total in range(1, _FARTHEST + 1):
        for skipped in range(min(total, len(joined)) + 1):
            rest, other = joined[skipped:], data[total - skipped :]
            if total - skipped > len(data):
                continue
            if rest[:_AGREE] == other[:_AGREE] and (len(rest) >= _AGREE or len(rest) == len(other)):
                return skipped, total - skipped
    return None
