"""ODT files: what LibreOffice, OpenOffice and others save."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .formats import Format
from .left_out import not_read
from .markup import parse_html, render
from .odt_html import OdtHtml, numbered_headings
from .opendocument import has_type, open_document
from .pieces import Pieces
from .source import Source

if TYPE_CHECKING:
    from zipfile import ZipFile


def is_odt(archive: ZipFile) -> bool:
    """Whether an archive is an ODT file."""
    return has_type(archive, "text")


def read_odt(data: bytes, name: str) -> Source:
    """The text of an ODT file; its headings are the sections.

    Footnotes stand in brackets where their mark is, comments too. Without headers and footers, deleted text, formulas
    and pictures. Raises ValueError for a file that is broken, locked or too large.
    """
    pieces = Pieces()
    with open_document(data, name, "an ODT", "text") as document:
        page = render(parse_html(OdtHtml(document.content, document.styles).html(document.body)))
        pieces.part(page.text, page.headings)
        pieces.warnings += page.warnings
        n_pictures = sum(1 for _ in document.body.iterfind(".//{*}frame/{*}image"))
        if n_pictures:
            pieces.warnings.append(not_read(n_pictures, "picture"))
        if numbered_headings(document.styles) and page.headings:
            pieces.warnings.append("headings have numbers that the program counts: they were not read")
    return pieces.source(name)


FORMAT = Format(read_odt, in_archive=is_odt)
