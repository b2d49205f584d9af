"""XLSX files: what Excel, LibreOffice and others save. Each sheet is a section."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from .archive import open_archive
from .cell_text import cell_text
from .formats import Format
from .left_out import not_read
from .office_parts import checked_parts
from .pieces import Pieces
from .reading import Reading
from .sheet_tables import Merged, spread_merged, tables
from .source import Source

if TYPE_CHECKING:
    from zipfile import ZipFile

_AS_IS = Reading()
_MOST_NAMED = 10


def is_xlsx(archive: ZipFile) -> bool:
    """Whether an archive is an XLSX file."""
    return "xl/workbook.xml" in archive.namelist()


def read_xlsx(data: bytes, name: str, reading: Reading = _AS_IS) -> Source:
    """The cells of all sheets, as they are shown, in tables; empty rows divide the tables of a sheet.

    A merged cell's value is in each of its places. Formulas give their values as they were saved. Comments stand below
    the table. Hidden sheets, rows and columns are left out, as on the screen, and named. Raises ValueError for a file
    that is broken, locked or too large.
    """
    import openpyxl

    pieces = Pieces()
    with open_archive(data, name, "an XLSX") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = checked_parts(archive, name).getvalue()
        without_value = _formulas(openpyxl.load_workbook(io.BytesIO(parts)))
        book = openpyxl.load_workbook(io.BytesIO(parts), data_only=True)
        sheets = book.worksheets
        for number, sheet in enumerate(sheets, start=1):
            if sheet.sheet_state == "visible":
                _add_sheet(pieces, sheet, without_value.get(sheet.title, set()))
            else:
                pieces.warnings.append(f"the sheet {sheet.title!r} is hidden, and was left out")
            reading.report(name, number, len(sheets))
        names = archive.namelist()
        for folder, what in (("xl/charts/chart", "chart"), ("xl/media/", "picture")):
            n = sum(part.startswith(folder) for part in names)
            if n:
                pieces.warnings.append(not_read(n, what))
    return pieces.source(name)


def _formulas(book: Any) -> dict[str, set[str]]:
    return {
        sheet.title: {cell.coordinate for _, cell in _cells(sheet) if cell.data_type == "f"}
        for sheet in book.worksheets
    }


def _cells(sheet: Any) -> list[tuple[tuple[int, int], Any]]:
    # its public methods make a cell for each place up to the last one, of which there may be 17 billion
    return sorted(sheet._cells.items())


def _add_sheet(pieces: Pieces, sheet: Any, formulas: set[str]) -> None:
    pieces.heading(sheet.title)
    hidden_rows = {at for at, row in sheet.row_dimensions.items() if row.hidden}
    hidden_columns = _hidden_columns(sheet)
    texts: dict[tuple[int, int], str] = {}
    comments: list[str] = []
    empty: list[str] = []
    n_hidden = 0
    for place, cell in _cells(sheet):
        text = cell_text(cell.value, cell.number_format)
        if cell.value is None and cell.coordinate in formulas:
            empty.append(cell.coordinate)
        if text and (place[0] in hidden_rows or place[1] in hidden_columns):
            n_hidden += 1
            continue
        if text:
            texts[place] = text
        if cell.comment is not None and cell.comment.text:
            comments.append(f"Comment on {cell.coordinate}: {' '.join(str(cell.comment.text).split())}")
    merged = [Merged(one.min_row, one.min_col, one.max_row, one.max_col) for one in sheet.merged_cells.ranges]
    spread_merged(merged, texts, hidden_rows, hidden_columns)
    for rows in tables(texts):
        pieces.table(rows)
    for comment in comments:
        pieces.text(comment)
    if n_hidden:
        pieces.warnings.append(f"{n_hidden} cells in hidden rows and columns of {sheet.title!r} were left out")
    if empty:
        which = ", ".join(empty[:_MOST_NAMED]) + (f" and {len(empty) - _MOST_NAMED} more" * (len(empty) > _MOST_NAMED))
        pieces.warnings.append(
            f"formulas of {sheet.title!r} have no saved value ({which}): save the file with a spreadsheet program"
        )


def _hidden_columns(sheet: Any) -> set[int]:
    hidden: set[int] = set()
    for column in sheet.column_dimensions.values():
        if column.hidden and column.min and column.max:
            hidden.update(range(column.min, min(column.max, 16384) + 1))
    return hidden


FORMAT = Format(lambda data, name: read_xlsx(data, name), in_archive=is_xlsx, read_with=read_xlsx)
