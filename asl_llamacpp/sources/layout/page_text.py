"""Blocks of a page as text, and where on the page each character of it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .fragment import Fragment, Rect
from .hyphens import Words
from .page_layout import Block
from .paragraphs import Line
from .tables import Table

_LONGEST_HEADING = 160  # characters
_LARGER = 1.12  # times the size that most of the text has


@dataclass
class PageText:
    """text      of one page
    rects     for each character its rectangle, None for what reading put between
    headings  where lines begin that are larger than the text, what they say, and their size
    """

    chars: list[str] = field(default_factory=list)
    rects: list[Rect | None] = field(default_factory=list)
    headings: list[tuple[int, str, float]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.chars)

    def put(self, text: str) -> None:
        """What reading puts between."""
        self.chars += text
        self.rects += [None] * len(text)

    def take_back(self, n: int) -> None:
        del self.chars[len(self.chars) - n :]
        del self.rects[len(self.rects) - n :]

    def add(self, piece: Fragment) -> None:
        self.chars += piece.text
        self.rects += piece.rects


def page_text(blocks: Sequence[Block], words: Words, body: float) -> PageText:
    """The text of a page: a blank line between paragraphs, tables as Markdown has them.

    body  the size of most of the document's text, points
    """
    page = PageText()
    for block in blocks:
        if page.chars:
            page.put("\n\n")
        if isinstance(block, Table):
            _add_table(page, block)
        else:
            _add_lines(page, block, words, body)
    return page


def _add_lines(page: PageText, lines: Sequence[Line], words: Words, body: float) -> None:
    heading: tuple[int, float] | None = None
    for before, line in zip([None, *lines], lines, strict=False):
        if before is not None and line.before == " ":
            gone, between = words.join(before.text, line.text)
            page.take_back(gone)
            page.put(between)
        else:
            _close_heading(page, heading)
            page.put(line.before)
            heading = (len(page.chars), line.size) if body and line.size > _LARGER * body else None
        for k, piece in enumerate(line.pieces):
            if k:
                page.put(" " if line.pieces[k - 1].text.endswith(":") else "  ")
            page.add(piece)
    _close_heading(page, heading)


def _close_heading(page: PageText, heading: tuple[int, float] | None) -> None:
    if heading is not None:
        title = " ".join("".join(page.chars[heading[0] :]).split())
        if len(title) <= _LONGEST_HEADING and any(char.isalpha() for char in title):
            page.headings.append((heading[0], title, heading[1]))


def _add_table(page: PageText, table: Table) -> None:
    for k, row in enumerate(table.cells):
        if k:
            page.put("\n")
        if k == 1:
            page.put("| " + " | ".join("---" for _ in row) + " |\n")
        page.put("|")
        for cell in row:
            page.put(" ")
            if cell is not None:
                _add_cell(page, cell)
            page.put("|")


def _add_cell(page: PageText, cell: Fragment) -> None:
    for char, rect in zip(cell.text, cell.rects, strict=True):
        if char == "|":
            page.put("\\")
        page.chars.append(char)
        page.rects.append(rect)
    page.put(" ")
