"""A text in passages that can be read and cited: its units, cut where a page, a section or a source begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..selection.arrays import Ints
from .text import Part

LONGEST = 128
"""Tokens of a passage at most: more than a unit of the selection has, for a sentence is shown whole where it can be."""

_GAP = 64
"""Characters that are looked at before and behind the end of a page."""

_IN_A_SENTENCE = (",", "\u3001", "\uff0c")

Offsets = NDArray[np.int64]


@dataclass(frozen=True)
class Passage:
    """Characters [start, stop) of a part's text, without white space at the ends; tokens [first, last) lie in it.

    A token over a border is in the passages on both sides.
    """

    part: Part
    start: int
    stop: int
    first: int
    last: int


def passages(part: Part, offsets: Offsets, starts: Ints) -> Iterator[Passage]:
    """The passages of a part, one after another, each with a letter or digit; every letter and digit is in one.

    Where a sentence goes on over the end of a page, so does its passage.

    offsets  int64 [n + 1], where the document's tokens begin, as `char_offsets` gives them
    starts   int32 [n_units], the tokens that its units begin with: see `unit_starts`
    """
    text, shift = part.text, part.start_in_document
    borders = {0, len(text), *(offsets[starts] - shift).tolist()}
    section: str | None = None
    for mark in part.source.marks:
        at = mark.start - part.start_in_source
        before, after = text[max(at - _GAP, 0) : max(at, 0)].rstrip(), text[max(at, 0) : max(at, 0) + _GAP].lstrip()
        if mark.section == section and _goes_on(before, after):
            borders.difference_update(range(max(at - _GAP, 0) + len(before), at + 1))
        else:
            borders.add(at)
        section = mark.section
    for begin, end in pairwise(sorted(border for border in borders if 0 <= border <= len(text))):
        piece = text[begin:end]
        start, stop = begin + len(piece) - len(piece.lstrip()), begin + len(piece.rstrip())
        if any(map(str.isalnum, piece)):
            first = int(np.searchsorted(offsets, shift + start, side="right")) - 1
            last = int(np.searchsorted(offsets, shift + stop, side="left"))
            yield Passage(part, start, stop, max(first, 0), min(last, len(offsets) - 1))


def _goes_on(before: str, after: str) -> bool:
    """Whether a sentence goes on where a page begins; not for certain, so it has to look like the middle of one."""
    last, first = before[-1:], after[:1]
    return (last.isalpha() or last in _IN_A_SENTENCE) and first.isalpha() and not first.isupper()


def tokens_with_words(part: Part, offsets: Offsets) -> NDArray[np.bool_]:
    """Which tokens have a letter or a digit of the part: bool [n]."""
    counts = np.zeros(part.length + 1, np.int64)
    np.cumsum(np.fromiter(map(str.isalnum, part.text), np.bool_, part.length), out=counts[1:])
    letters = counts[np.clip(offsets - part.start_in_document, 0, part.length)]
    words: NDArray[np.bool_] = letters[1:] > letters[:-1]
    return words
