"""The filled cells of a sheet as tables: (row, column) and text, whatever the program that saved them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TypeAlias

Cells: TypeAlias = dict[tuple[int, int], str]

_MOST_MERGED = 10_000  # cells of a range that get its value


@dataclass(frozen=True)
class Merged:
    """Cells that look like one: its first and last row and column, all included."""

    first_row: int
    first_column: int
    last_row: int
    last_column: int


def spread_merged(
    ranges: Collection[Merged], texts: Cells, hidden_rows: Collection[int], hidden_columns: Collection[int]
) -> None:
    """Give each cell of a range that can be seen the range's text; a title over the whole table is said once."""
    filled_rows = {row for row, _ in texts}
    alone_in = {row for row in filled_rows if sum(other == row for other, _ in texts) == 1} if ranges else set()
    for cells in ranges:
        text = texts.get((cells.first_row, cells.first_column))
        size = (cells.last_row - cells.first_row + 1) * (cells.last_column - cells.first_column + 1)
        if text is None or size > _MOST_MERGED:
            continue
        last = cells.first_column if cells.first_row in alone_in else cells.last_column
        for row in range(cells.first_row, cells.last_row + 1):
            if row not in filled_rows or row in hidden_rows:
                continue
            for column in range(cells.first_column, last + 1):
                if column not in hidden_columns:
                    texts.setdefault((row, column), text)


def tables(texts: Cells) -> Iterator[list[list[str]]]:
    """Rows that follow each other, without the columns that are empty in all of them."""
    by_row: dict[int, dict[int, str]] = {}
    for (row, column), text in texts.items():
        by_row.setdefault(row, {})[column] = text
    block: list[dict[int, str]] = []
    before = 0
    for row in sorted(by_row):
        if block and row > before + 1:
            yield _grid(block)
            block = []
        block.append(by_row[row])
        before = row
    if block:
        yield _grid(block)


def _grid(block: list[dict[int, str]]) -> list[list[str]]:
    columns = sorted({column for row in block for column in row})
    return [[row.get(column, "") for column in columns] for row in block]
