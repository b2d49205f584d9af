"""Tables: cells that stand below each other, line after line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from .fragment import WIDE_GAP, Fragment, joined
from .rows import Interval, column_of, covered, row_bottom, row_top

_MOST_BETWEEN = 3.0  # times the height of a line: rows that are further apart are not of one table
_TIGHT = 0.75  # times the usual distance of rows: what is nearer goes on in the cell above
_CELLS_ALONE = 3  # rows with one cell, one after another, end a table


@dataclass
class Table:
    """Cells by row and column; None: there is nothing in it."""

    cells: list[list[Fragment | None]]

    @property
    def is_form(self) -> bool:
        """Whether it is labels with a colon, and one value each."""
        return len(self.cells[0]) == 2 and all(row[0] is not None and row[0].text.endswith(":") for row in self.cells)


def find_table(
    lines: Sequence[list[Fragment]], start: int, rules: Sequence[tuple[float, Interval]]
) -> tuple[int, Table] | None:
    """The table that begins with a line, and the line behind it; None: there is none."""
    if len(lines[start]) < 2:
        return None
    narrowest = 0.5 * WIDE_GAP * lines[start][0].size
    end = start  # behind the last line with several cells
    pieces: list[Fragment] = []
    most = alone = 0
    for at in range(start, len(lines)):
        line = lines[at]
        if at > start:
            apart = row_top(line) - row_bottom(lines[at - 1])
            if apart > _MOST_BETWEEN * median(piece.height for piece in line):
                break
        columns = covered([*pieces, *line], narrowest)
        most = max(most, len(line))
        if len(columns) < most:
            break
        alone = alone + 1 if len(line) == 1 else 0
        if alone > _CELLS_ALONE or (len(line) == 1 and _is_wide(line[0], columns)):
            break
        pieces += line
        if len(line) > 1:
            end = at + 1
    found = list(lines[start:end])
    end += _continued(lines, end, rules)
    found = list(lines[start:end])
    if sum(len(line) > 1 for line in found) < 2:
        return None
    columns = covered([piece for line in found for piece in line], narrowest)
    return end, Table(_cells(found, columns, rules))


def _is_wide(piece: Fragment, columns: Sequence[Interval]) -> bool:
    return sum(min(piece.x1, x1) > max(piece.x0, x0) for x0, x1 in columns) > 1


def _continued(lines: Sequence[list[Fragment]], end: int, rules: Sequence[tuple[float, Interval]]) -> int:
    """How many lines below the last one with several cells are still above a line that closes the table."""
    if end >= len(lines) or len(lines[end]) > 1:
        return 0
    below, last = row_top(lines[end]), row_bottom(lines[end - 1])
    x0 = lines[end - 1][0].x0
    drawn = [y for y, (left, right) in rules if left <= x0 + 1 and right > lines[end - 1][-1].x0]
    between = any(last - 2 <= y <= below + 2 for y in drawn)
    closing = [y for y in drawn if y >= below + 2]
    if between or not closing or len(drawn) < 2:
        return 0
    n = 0
    while end + n < len(lines) and row_bottom(lines[end + n]) <= min(closing) + 2:
        n += 1
    return n


def _cells(
    lines: Sequence[list[Fragment]], columns: Sequence[Interval], rules: Sequence[tuple[float, Interval]]
) -> list[list[Fragment | None]]:
    left, right = columns[0][0], columns[-1][1]
    drawn = sorted(y for y, (x0, x1) in rules if x0 <= left + 2 and x1 >= right - 2)
    tops = [row_top(line) for line in lines]
    usual = median(b - a for a, b in pairwise(tops))
    is_ruled = sum(tops[0] < y < row_bottom(lines[-1]) for y in drawn) > 1
    table: list[list[Fragment | None]] = []
    for k, line in enumerate(lines):
        if is_ruled:
            goes_on = k > 0 and not any(tops[k - 1] < y < row_bottom(line) for y in drawn)
        else:
            goes_on = k > 0 and len(line) < len(columns) and tops[k] - tops[k - 1] < _TIGHT * usual
        if not goes_on:
            table.append([None] * len(columns))
        for piece in line:
            column = column_of(piece, columns)
            cell = table[-1][column]
            table[-1][column] = piece if cell is None else joined(cell, piece)
    return table
