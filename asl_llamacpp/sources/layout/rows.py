"""Pieces of lines that stand side by side, and the white strips between columns of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from .fragment import Fragment, same_line

Interval: TypeAlias = tuple[float, float]


def rows(pieces: Sequence[Fragment]) -> list[list[Fragment]]:
    """By lines from the top down, and in each from the left to the right."""
    found: list[list[Fragment]] = []
    for piece in sorted(pieces, key=lambda piece: (piece.top + piece.bottom, piece.x0)):
        row = next((row for row in reversed(found[-3:]) if same_line(row[0], piece)), None)
        if row is None:
            found.append([piece])
        else:
            row.append(piece)
    for row in found:
        row.sort(key=lambda piece: piece.x0)
    return found


def row_top(row: Sequence[Fragment]) -> float:
    return min(piece.top for piece in row)


def row_bottom(row: Sequence[Fragment]) -> float:
    return max(piece.bottom for piece in row)


def covered(pieces: Sequence[Fragment], narrowest: float) -> list[Interval]:
    """What the pieces cover from left to right; white strips narrower than `narrowest` count as covered."""
    return with_interval([], sorted((piece.x0, piece.x1) for piece in pieces), narrowest)


def with_interval(intervals: list[Interval], more: Sequence[Interval], narrowest: float) -> list[Interval]:
    """Intervals, sorted and apart, with some more."""
    merged: list[Interval] = []
    for x0, x1 in sorted([*intervals, *more]):
        if merged and x0 - merged[-1][1] < narrowest:
            merged[-1] = (merged[-1][0], max(merged[-1][1], x1))
        else:
            merged.append((x0, x1))
    return merged


def column_of(piece: Fragment, columns: Sequence[Interval]) -> int:
    """The column that most of a piece is in."""
    return max(range(len(columns)), key=lambda k: min(piece.x1, columns[k][1]) - max(piece.x0, columns[k][0]))
