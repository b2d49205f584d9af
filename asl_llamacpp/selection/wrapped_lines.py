"""Lines that end only because they were full: the sentence goes on in the next one."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

_PROSE = re.compile(rb"[ \t]*[A-Za-z\"'({\x80-\xff]\S{0,23}(?: {1,2}\S{1,24}){4,}\r?\Z")

NARROWEST, WIDEST = 40, 120
"""Characters of the longest line of a text that is taken for one of a fixed width."""

FULL = 0.9
"""The next word would have made the line longer than this share of that width."""


def wrapped_ends(data: bytes) -> NDArray[np.int64]:
    """Behind the line ends of running text of a fixed width, but not of its paragraphs' last lines: int64, rising.

    Neighbouring lines with the same indentation are a paragraph, and its longest line is its width. Rows, code and
    lists do not look like it: their lines begin with other signs, have few words, or end before they are full.
    """
    lines = data.split(b"\n")
    prose = np.fromiter((_PROSE.match(line) is not None for line in lines), np.bool_, len(lines))
    if not prose.any():
        return np.empty(0, dtype=np.int64)
    indents, words, sizes = (np.array(column) for column in zip(*map(_measure, lines), strict=True))
    same = (indents[1:] == indents[:-1]) & (words[1:] > 0) & (words[:-1] > 0)
    begins = np.flatnonzero(np.append(True, ~same))
    widths = np.repeat(np.maximum.reduceat(sizes, begins), np.diff(np.append(begins, len(lines))))[:-1]
    full = sizes[:-1] + 1 + words[1:] > FULL * widths
    wrapped = same & prose[:-1] & full & (widths >= NARROWEST) & (widths <= WIDEST)
    ends = np.fromiter(map(len, lines), np.int64, len(lines)).cumsum() + np.arange(1, len(lines) + 1)
    found: NDArray[np.int64] = ends[:-1][wrapped]
    return found


def _measure(line: bytes) -> tuple[int, int, int]:
    """Characters of a line's indentation, of its first word, and of all of it."""
    text = line.decode("utf-8", "replace").rstrip()
    bare = text.lstrip()
    return len(text) - len(bare), len(bare.split(None, 1)[0]) if bare else 0, len(text)
