"""A prompt in units that can be read: sentences, lines, rows. Borders lie between tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .arrays import Ints
from .sentence_ends import INNER, ends, line_ends, sentence_ends
from .wrapped_lines import wrapped_ends

LONGEST = 48
"""Tokens of a unit at most."""

_WORD = np.zeros(256, dtype=np.bool_)
_WORD[[*range(ord("0"), ord("9") + 1), *range(ord("A"), ord("Z") + 1), *range(ord("a"), ord("z") + 1)]] = True
_WORD[128:] = True
_SPACE = np.zeros(256, dtype=np.bool_)
_SPACE[list(b" \t\r\n\v\f")] = True


def unit_starts(texts: Sequence[bytes], longest: int = LONGEST) -> Ints:
    """The token that each unit begins with, int32 [n_units], increasing, the first one 0; empty for no tokens.

    A unit ends with a sentence, of whatever script, or with a line; lines of running text that was broken at a fixed
    width go on. What has no word belongs to the unit before it. One of more than `longest` tokens is cut in about
    equal pieces, at a stop, else behind a semicolon, colon or dash, a comma, before a word, or anywhere but within a
    character.

    `texts`: the bytes of each token, UTF-8 when joined, a character's perhaps in several tokens. A token without text,
    such as a template's, counts as the end of a line.
    """
    n = len(texts)
    if n == 0:
        return np.empty(0, dtype=np.int32)
    pieces = [text or b"\n" for text in texts]
    data = b"".join(pieces)
    begins = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, pieces), dtype=np.int64, count=n), out=begins[1:])
    places = np.union1d(sentence_ends(data), np.setdiff1d(line_ends(data), wrapped_ends(data)))
    starts = _with_words(np.unique(np.append(0, np.searchsorted(begins[:-1], places))), data, begins)
    if int(np.diff(np.append(starts, n)).max()) > longest:
        starts = _cut(starts, _strengths(data, begins[:-1]), longest)
    return starts.astype(np.int32)


def _with_words(starts: NDArray[np.int64], data: bytes, begins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Without those that begin a unit without a word, and without the one that ends a first such unit."""
    words = np.zeros(len(data) + 1, dtype=np.int64)
    np.cumsum(_WORD[np.frombuffer(data, np.uint8)], out=words[1:])
    n = len(begins) - 1
    starts = starts[starts < n]
    before = words[begins[starts]]
    after = words[begins[np.append(starts[1:], n)]]
    kept = (after > before) & (before > 0)
    kept[0] = True
    with_words: NDArray[np.int64] = starts[kept]
    return with_words


def _strengths(data: bytes, begins: NDArray[np.int64]) -> NDArray[np.int8]:
    """How good a border is before each token, int8 [n]: from -1, within a character, up to behind a stop."""
    first = np.frombuffer(data, np.uint8)[begins]
    strengths = _SPACE[first].astype(np.int8)
    strengths[(first & 0xC0) == 0x80] = -1
    for strength, pattern in enumerate(reversed(INNER), start=2):
        places = ends(pattern, data)
        at = np.searchsorted(begins, places)
        strengths[at[at < len(begins)]] = strength
    return strengths


def _cut(starts: NDArray[np.int64], strengths: NDArray[np.int8], longest: int) -> NDArray[np.int64]:
    n = len(strengths)
    lengths = np.diff(np.append(starts, n))
    more: list[int] = []
    for i in np.flatnonzero(lengths > longest).tolist():
        start, stop = int(starts[i]), int(starts[i] + lengths[i])
        while stop - start > longest:
            start = _best_cut(strengths, start, stop, longest)
            more.append(start)
    return np.sort(np.append(starts, np.array(more, dtype=np.int64)))


def _best_cut(strengths: NDArray[np.int8], start: int, stop: int, longest: int) -> int:
    """Where the first of the fewest pieces ends: at the strongest border that leaves no more of them than needed."""
    n_pieces = -(-(stop - start) // longest)
    equal = (stop - start) / n_pieces
    low = start + max(stop - start - longest * (n_pieces - 1), int(equal / 2), 1)
    high = start + longest
    found = strengths[low : high + 1]
    best = np.flatnonzero(found == found.max())
    return low + int(best[np.argmin(np.abs(best + (low - start - equal)))])
