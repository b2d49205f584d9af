"""Tables of HTML as rows of cells: a cell that spans several is in each of them."""

from __future__ import annotations

from collections.abc import Callable

from .html_tree import Element

_MOST_CELLS = 200_000
_WIDEST_SPAN, _TALLEST_SPAN = 1000, 65534  # as HTML has it
_LAYOUT = ("table", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "pre", "blockquote", "hr", "form")


def data_rows(table: Element, text_of: Callable[[Element], str]) -> list[list[str]] | None:
    """The texts of a table's cells by row; None: it is no table of data, but lays out a page."""
    rows = _rows(table)
    if any(True for cells in rows for cell in cells for _ in cell.all(*_LAYOUT)):
        return None
    grid = spread([[(text_of(cell), *_spans(cell)) for cell in row] for row in rows])
    grid = [row for row in grid if any(row)]
    return grid if grid and max(map(len, grid)) > 1 else None


def spread(rows: list[list[tuple[str, int, int]]]) -> list[list[str]]:
    """Texts with how many columns and rows each spans (0: to the last one), as a grid.

    A cell's text is in each place that it spans, except where it is all of a row: there it is in the first.
    """
    grid: list[dict[int, str]] = [{} for _ in rows]
    n_cells = 0
    for at, row in enumerate(rows):
        column = 0
        for text, across, down in row:
            while column in grid[at]:
                column += 1
            across = max(min(across, _WIDEST_SPAN), 1)
            below = range(at, len(rows) if down == 0 else min(at + max(down, 1), len(rows)))
            if n_cells + across * len(below) > _MOST_CELLS:
                across, below = 1, range(at, at + 1)
            alone = len(row) == 1 and not grid[at]
            for line in below:
                for k in range(column, column + across):
                    grid[line].setdefault(k, text if k == column or not alone else "")
            n_cells += across * len(below)
            column += across
    width = max((max(line) + 1 for line in grid if line), default=0)
    return (
        [[line.get(k, "") for k in range(width)] for line in grid]
        if width * len(grid) <= 4 * _MOST_CELLS
        else [list(line.values()) for line in grid]
    )


def _rows(table: Element) -> list[list[Element]]:
    found: list[list[Element]] = []
    for part in table.children:
        if not isinstance(part, Element):
            continue
        lines = [part] if part.tag == "tr" else part.children if part.tag in ("thead", "tbody", "tfoot") else []
        for line in lines:
            if isinstance(line, Element) and line.tag == "tr":
                cells = [cell for cell in line.children if isinstance(cell, Element) and cell.tag in ("td", "th")]
                found.append(cells)
    return found


def _spans(cell: Element) -> tuple[int, int]:
    across, down = (cell.attrs.get(name, "1").strip() for name in ("colspan", "rowspan"))
    return (
        int(across[:6]) if across.isdecimal() else 1,
        min(int(down[:6]), _TALLEST_SPAN) if down.isdecimal() else 1,
    )
