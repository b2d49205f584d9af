"""The pieces of one page in reading order: lines, and tables between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from .bidi import is_rtl
from .columns import by_columns
from .fragment import Fragment
from .paragraphs import Line, find_paragraphs
from .rows import Interval, rows
from .tables import Table, find_table

Block: TypeAlias = list[Line] | Table
Rule: TypeAlias = tuple[float, Interval]
"""A line that is drawn from left to right: its height, and where it begins and ends."""


def page_blocks(pieces: Sequence[Fragment], rules: Sequence[Rule]) -> list[Block]:
    """Paragraphs and tables, in the order they are read in."""
    if not pieces:
        return []
    rtl = is_rtl("".join(piece.text for piece in pieces))
    if rtl:  # what is read first is to be first: seen in a mirror
        pieces = [_turned(piece) for piece in pieces]
        rules = [(y, (-x1, -x0)) for y, (x0, x1) in rules]
    blocks: list[Block] = []
    for group in by_columns(pieces, rules):
        blocks += _column(group, rules, rtl)
    return blocks


def _turned(piece: Fragment) -> Fragment:
    x0, top, x1, bottom = piece.box
    return Fragment(piece.text, piece.rects, (-x1, top, -x0, bottom), piece.size, piece.kind)


def _column(pieces: Sequence[Fragment], rules: Sequence[Rule], rtl: bool) -> list[Block]:
    found = rows(pieces)
    blocks: list[Block] = []
    lines: list[Line] = []
    at = 0
    while at < len(found):
        table = find_table(found, at, rules)
        if table is None:
            lines.append(Line(found[at]))
            at += 1
            continue
        if lines:
            blocks.append(lines)
            lines = []
        at, cells = table
        blocks.append(_form(cells) if cells.is_form else cells)
    if lines:
        blocks.append(lines)
    for block in blocks:
        if isinstance(block, list):
            find_paragraphs(block)
    return blocks


def _form(table: Table) -> list[Line]:
    return [Line([piece for piece in row if piece is not None]) for row in table.cells]
