"""ODS files: spreadsheets of LibreOffice, OpenOffice and others. Each sheet is a section."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from .formats import Format
from .left_out import not_read
from .odt_html import local, tag_of
from .opendocument import OpenDocument, has_type, open_document
from .pieces import Pieces
from .reading import Reading
from .sheet_tables import Cells, Merged, spread_merged, tables
from .source import Source

if TYPE_CHECKING:
    from zipfile import ZipFile

_AS_IS = Reading()
_GROUPS = {"table-row-group", "table-header-rows", "table-rows"}
_GROUPS |= {"table-column-group", "table-header-columns", "table-columns"}
_HIDDEN = ("collapse", "filter")
_MOST_REPEATED = 1000  # times that a row or cell with text is told to come again
_MOST_NAMED = 10


def is_ods(archive: ZipFile) -> bool:
    """Whether an archive is an ODS file."""
    return has_type(archive, "spreadsheet")


def read_ods(data: bytes, name: str, reading: Reading = _AS_IS) -> Source:
    """The cells of all sheets, as they are shown, in tables; empty rows divide the tables of a sheet.

    Dates are in ISO's form. A merged cell's value is in each of its places, comments stand below the table. Hidden
    sheets, rows and columns are left out, as on the screen, and named. Raises ValueError for a file that is broken,
    locked or too large.
    """
    pieces = Pieces()
    with open_document(data, name, "an ODS", "spreadsheet") as document:
        hidden = document.styles_with("table-properties", "display", "false")
        sheets = document.body.findall("{*}table")
        for number, sheet in enumerate(sheets, start=1):
            title = local(sheet, "name") or f"Sheet {number}"
            if local(sheet, "style-name") in hidden:
                pieces.warnings.append(f"the sheet {title!r} is hidden, and was left out")
            else:
                _Sheet(title, sheet).add_to(pieces)
            reading.report(name, number, len(sheets))
        _count_pictures(pieces, document)
    return pieces.source(name)


def _count_pictures(pieces: Pieces, document: OpenDocument) -> None:
    for tag, what in (("object", "chart"), ("image", "picture")):
        frames = [frame for frame in document.body.iterfind(".//{*}frame") if frame.find("{*}" + tag) is not None]
        n = len([one for one in frames if tag == "object" or one.find("{*}object") is None])
        if n:
            pieces.warnings.append(not_read(n, what))


class _Sheet:
    """The cells of one sheet that can be seen."""

    def __init__(self, title: str, sheet: Element) -> None:
        self.title = title
        self.texts: Cells = {}
        self.merged: list[Merged] = []
        self.comments: list[str] = []
        self.uncounted: list[str] = []
        self.cut = False
        self.n_hidden = 0
        self.hidden_columns: set[int] = set()
        self.hidden_rows: set[int] = set()
        at = 0
        for column in _inside(sheet, "table-column"):
            n = _repeated(column, "number-columns-repeated")
            if local(column, "visibility") in _HIDDEN:
                self.hidden_columns.update(range(at, at + min(n, 16384)))
            at += n
        at = 0
        for row in _inside(sheet, "table-row"):
            at = self._add_row(row, at)

    def _add_row(self, row: Element, at: int) -> int:
        n = _repeated(row, "number-rows-repeated")
        if row.find(".//{*}p") is None and not any(local(cell, "value-type") or local(cell, "formula") for cell in row):
            return at + n
        for _ in range(min(n, _MOST_REPEATED)):
            if local(row, "visibility") in _HIDDEN:
                self.hidden_rows.add(at)
            self._add_cells(row, at)
            at += 1
        self.cut |= n > _MOST_REPEATED
        return at + max(n - _MOST_REPEATED, 0)

    def _add_cells(self, row: Element, i: int) -> None:
        j = 0
        for cell in row:
            n = _repeated(cell, "number-columns-repeated")
            text = _text(cell) if tag_of(cell) == "table-cell" else ""
            comment = cell.find("{*}annotation")
            if text or comment is not None or local(cell, "formula"):
                for column in range(j, j + min(n, _MOST_REPEATED)):
                    self._add_cell(cell, (i, column), text, comment)
                self.cut |= n > _MOST_REPEATED
            j += n

    def _add_cell(self, cell: Element, at: tuple[int, int], text: str, comment: Element | None) -> None:
        if at[0] in self.hidden_rows or at[1] in self.hidden_columns:
            self.n_hidden += bool(text)
            return
        if text:
            self.texts[at] = text
        elif local(cell, "formula"):
            self.uncounted.append(_name(at))
        if comment is not None:
            words = " ".join(" ".join("".join(one.itertext()).split()) for one in comment.iterfind("{*}p"))
            self.comments.append(f"Comment on {_name(at)}: {words}")
        down, across = (_repeated(cell, f"number-{what}-spanned") for what in ("rows", "columns"))
        if down > 1 or across > 1:
            self.merged.append(Merged(*at, at[0] + down - 1, at[1] + across - 1))

    def add_to(self, pieces: Pieces) -> None:
        pieces.heading(self.title)
        spread_merged(self.merged, self.texts, self.hidden_rows, self.hidden_columns)
        for rows in tables(self.texts):
            pieces.table(rows)
        for comment in self.comments:
            pieces.text(comment)
        if self.n_hidden:
            pieces.warnings.append(f"{self.n_hidden} cells in hidden rows and columns of {self.title!r} were left out")
        if self.uncounted:
            more = len(self.uncounted) - _MOST_NAMED
            which = ", ".join(self.uncounted[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
            pieces.warnings.append(
                f"formulas of {self.title!r} have no saved value ({which}): save the file with a spreadsheet program"
            )
        if self.cut:
            pieces.warnings.append(
                f"a row or cell of {self.title!r} comes more than {_MOST_REPEATED:,} times, and was read that often"
            )


def _inside(parent: Element, wanted: str) -> Iterator[Element]:
    """The rows or columns of a sheet, those of groups too."""
    for child in parent:
        if tag_of(child) == wanted:
            yield child
        elif tag_of(child) in _GROUPS:
            yield from _inside(child, wanted)


def _text(cell: Element) -> str:
    if local(cell, "value-type") == "date":
        return local(cell, "date-value").replace("T", " ").removesuffix(" 00:00:00")
    lines = ["".join(_words(one)) for one in cell.iterfind("{*}p")]
    shown = "\n".join(lines).strip()
    return shown or next((local(cell, key) for key in ("string-value", "value") if local(cell, key)), "")


def _words(element: Element) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        tag = tag_of(child)
        if tag == "s" or tag in ("tab", "line-break"):
            yield " "
        elif tag != "annotation":
            yield from _words(child)
        yield child.tail or ""


def _repeated(element: Element, name: str) -> int:
    value = local(element, name)
    return max(int(value[:9]), 1) if value.isdecimal() else 1


def _name(at: tuple[int, int]) -> str:
    """As "B7"."""
    letters, column = "", at[1] + 1
    while column:
        column, letter = divmod(column - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return f"{letters}{at[0] + 1}"


FORMAT = Format(lambda data, name: read_ods(data, name), in_archive=is_ods, read_with=read_ods)
