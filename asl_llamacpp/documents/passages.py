"""Kept tokens of a text, joined into passages that can be read."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

LONGEST = 400
"""A run of more characters is cut in two, and again."""

WORD_ROOM, SENTENCE_ROOM = 20, 100
"""To end with a word or a sentence, either end of a passage may move by so many characters."""

_SENTENCE_END = re.compile(r"[.!?…][\"'\u201d\u2019»)\]]*(?=\s)|[\u3002\uff01\uff1f]|\n")
_SPACE = re.compile(r"\s")

Offsets = NDArray[np.int64]


def letters_before(text: str) -> Offsets:
    """How many letters and digits stand before each character, int64 [len(text) + 1]."""
    counts = np.zeros(len(text) + 1, np.int64)
    np.cumsum(np.fromiter(map(str.isalnum, text), np.bool_, len(text)), out=counts[1:])
    return counts


def passages(
    text: str, words: NDArray[np.bool_], value: NDArray[np.float32], offsets: Offsets, merge_gap: int
) -> Iterator[tuple[int, int, float]]:
    """(start, stop, largest value) of each passage, by position, in characters of `text`; passages do not overlap.

    `words`, bool [n], are the tokens to show, each with a letter or digit; `value`, float32 [n], is 0 elsewhere.
    `offsets`, int64 [n + 1], are where the tokens begin.
    """
    sentences = np.array([match.end() for match in _SENTENCE_END.finditer(text)], np.int64)
    previous = 0
    for begin, end in _runs(words, merge_gap):
        for start, stop in _cut(text, value, offsets, sentences, int(offsets[begin]), int(offsets[end])):
            start, stop = _widen(text, sentences, start, stop)
            start = _skip_space(text, max(start, previous), stop)
            first = int(np.searchsorted(offsets, start, side="right")) - 1
            last = int(np.searchsorted(offsets, stop, side="left"))
            if start < stop and words[first:last].any():
                yield start, stop, float(value[first:last].max())
                previous = stop


def _runs(words: NDArray[np.bool_], merge_gap: int) -> list[tuple[int, int]]:
    """Token ranges [begin, end) that start and end with a word."""
    at = np.flatnonzero(words)
    if not len(at):
        return []
    breaks = np.flatnonzero(np.diff(at) > merge_gap + 1)
    begins, ends = at[np.append(0, breaks + 1)], at[np.append(breaks, len(at) - 1)] + 1
    return list(zip(begins.tolist(), ends.tolist(), strict=True))


def _cut(
    text: str, value: NDArray[np.float32], offsets: Offsets, sentences: Offsets, start: int, stop: int
) -> list[tuple[int, int]]:
    """The run in pieces of at most `LONGEST` characters, cut near its middle where the attention is weakest."""
    if stop - start <= LONGEST:
        return [(start, stop)]
    margin = (stop - start) // 5
    low, high = start + margin, stop - margin
    borders = sentences[(sentences > low) & (sentences < high)]
    if not len(borders):
        borders = np.array([m.start() for m in _SPACE.finditer(text, low, high)] or [(low + high) // 2], np.int64)
    tokens = np.searchsorted(offsets, borders)
    near = [float(value[max(token - 8, 0) : token + 8].max(initial=0)) for token in tokens.tolist()]
    border = int(borders[int(np.argmin(near))])
    pieces = _cut(text, value, offsets, sentences, start, border)
    return pieces + _cut(text, value, offsets, sentences, border, stop)


def _widen(text: str, sentences: Offsets, start: int, stop: int) -> tuple[int, int]:
    """Outward to the sentence, else to the word, else not at all; spaces at the ends do not count."""
    start = _skip_space(text, start, stop)
    stop = start + len(text[start:stop].rstrip())
    before = int(np.searchsorted(sentences, start, side="right"))
    sentence = _skip_space(text, int(sentences[before - 1]) if before else 0, start)
    start = sentence if start - sentence <= SENTENCE_ROOM else _word_start(text, start)
    after = int(np.searchsorted(sentences, stop, side="left"))
    sentence = int(sentences[after]) if after < len(sentences) else len(text)
    sentence -= len(text[stop:sentence]) - len(text[stop:sentence].rstrip())
    return start, sentence if sentence - stop <= SENTENCE_ROOM else _word_stop(text, stop)


def _word_start(text: str, start: int) -> int:
    """Where the word around `start` begins; `start` where none begins within `WORD_ROOM`."""
    at = start
    while at > 0 and not text[at - 1].isspace():
        at -= 1
        if start - at > WORD_ROOM:
            return start
    return at


def _word_stop(text: str, stop: int) -> int:
    at = stop
    while at < len(text) and not text[at].isspace():
        at += 1
        if at - stop > WORD_ROOM:
            return stop
    return at


def _skip_space(text: str, start: int, stop: int) -> int:
    return start + len(text[start:stop]) - len(text[start:stop].lstrip())
