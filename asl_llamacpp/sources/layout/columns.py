"""Columns of running text: which are read one after another, though they stand beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from .fragment import WIDE_GAP, Fragment
from .rows import Interval, column_of, with_interval

_FILLED = 0.55  # of a column's width, by most of its lines
_FEWEST_LINES = 3
_FEWEST_WORDS = 2.5
_ONE_SIDED = 0.6  # of the width of all: wider lines that stand alone are not in a column


def by_columns(pieces: Sequence[Fragment], rules: Sequence[tuple[float, Interval]]) -> list[list[Fragment]]:
    """Pieces in groups to be read one after another, each of one column or of what is no column.

    Args:
        pieces: of one page.
        rules: height and extent of lines that are drawn from left to right: what they cross is a table.
    """
    ordered = sorted(pieces, key=lambda piece: (piece.top, piece.x0))
    groups: list[list[Fragment]] = []
    loose: list[Fragment] = []
    at = 0
    while at < len(ordered):
        end, columns = _band(ordered, at)
        band = ordered[at:end]
        if len(columns) > 1 and _is_prose(band, columns, rules):
            if loose:
                groups.append(loose)
                loose = []
            sides: list[list[Fragment]] = [[] for _ in columns]
            for piece in band:
                sides[column_of(piece, columns)].append(piece)
            groups += sides
            at = end
        else:
            loose.append(ordered[at])
            at += 1
    return [*groups, loose] if loose else groups


def _band(ordered: Sequence[Fragment], start: int) -> tuple[int, list[Interval]]:
    """Where the band ends that begins at a piece, and its columns: white strips go through all of it."""
    width = max(piece.x1 for piece in ordered) - min(piece.x0 for piece in ordered)
    columns: list[Interval] = []
    for at in range(start, len(ordered)):
        piece = ordered[at]
        more = with_interval(columns, [(piece.x0, piece.x1)], WIDE_GAP * piece.size)
        if len(more) == 1 and (len(columns) > 1 or more[0][1] - more[0][0] > _ONE_SIDED * width):
            return at, columns
        if len(more) < len(columns):  # a strip ends here
            return at, columns
        columns = more
    return len(ordered), columns


def _is_prose(band: Sequence[Fragment], columns: Sequence[Interval], rules: Sequence[tuple[float, Interval]]) -> bool:
    top, bottom = min(piece.top for piece in band), max(piece.bottom for piece in band)
    for k, (x0, x1) in enumerate(columns):
        lines = [piece for piece in band if column_of(piece, columns) == k]
        if len(lines) < _FEWEST_LINES:
            return False
        if median(piece.x1 - piece.x0 for piece in lines) < _FILLED * (x1 - x0):
            return False
        if sum(len(piece.text.split()) for piece in lines) < _FEWEST_WORDS * len(lines):
            return False
    for (_, left), (right, _) in pairwise(columns):
        crossing = [y for y, (x0, x1) in rules if top < y < bottom and x0 < left and right < x1]
        if len(crossing) > 1:
            return False
    return True
