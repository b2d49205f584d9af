"""Heads, feet and page numbers that come again on each page."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from .fragment import Fragment
from .rows import row_bottom, row_top, rows

_FEWEST_PAGES = 3
_MOST_LINES = 3
_APART = 0.7  # times the height of a line: between a head and the text
_HEIGHT = 4.0  # points: how far apart they may stand on different pages
_NUMBER = re.compile(r"\d{1,4}")

Key: TypeAlias = tuple[str, int | None, int]  # text without its page number, that number less the page's, height


@dataclass(frozen=True)
class _Seen:
    page: int
    row: tuple[int, ...]


def without_running_heads(pages: Sequence[list[Fragment]]) -> tuple[list[list[Fragment]], int]:
    """The pages, of lines that come again on three pages or more only the first; and how many lines were left out.

    A line comes again if it reads alike at the same height at the top or the bottom, apart from the text. One of its
    numbers may count with the pages; a number alone must.
    """
    seen: dict[Key, list[_Seen]] = defaultdict(list)
    for page, pieces in enumerate(pages):
        lines = rows(pieces)
        if len(lines) < 2:
            continue
        for line in _outer(lines):
            for key in _keys(" ".join(piece.text for piece in line), page, row_top(line)):
                seen[key].append(_Seen(page, tuple(id(piece) for piece in line)))
    dropped: dict[int, set[int]] = defaultdict(set)
    n = 0
    for (text, _, _), found in seen.items():
        on = {one.page for one in found}
        if len(on) < _FEWEST_PAGES or len(on) < (max(on) - min(on) + 1) / 3:
            continue
        keeps = any(char.isalpha() for char in text)
        for one in found:
            if not (keeps and one.page == min(on)):
                n += one.row[0] not in dropped[one.page]
                dropped[one.page].update(one.row)
    kept = []
    for page, pieces in enumerate(pages):
        rest = [piece for piece in pieces if id(piece) not in dropped[page]]
        kept.append(rest or pieces)
    return kept, n


def _outer(lines: Sequence[list[Fragment]]) -> Iterator[list[Fragment]]:
    """Lines at the top and at the bottom that stand apart from the text between them."""
    apart = [
        row_top(after) - row_bottom(line) > _APART * (row_bottom(line) - row_top(line))
        for line, after in pairwise(lines)
    ]
    if True in apart[:_MOST_LINES]:
        yield from lines[: apart.index(True) + 1]
    backwards = apart[::-1]
    if True in backwards[:_MOST_LINES]:
        yield from lines[len(lines) - 1 - backwards.index(True) :]


def _keys(text: str, page: int, top: float) -> Iterator[Key]:
    heights = {int(top / _HEIGHT), int(top / _HEIGHT + 0.5)}  # two grids, so that none is at an edge of both
    for height in heights:
        if any(char.isalpha() for char in text):
            yield text, None, height
        for number in _NUMBER.finditer(text):
            around = f"{text[: number.start()]}#{text[number.end() :]}"
            yield around, int(number[0]) - page, height
