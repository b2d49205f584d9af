"""ODT files: what LibreOffice, OpenOffice and others save."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from .archive import open_archive, parse_xml, read_part
from .errors import UnreadableError
from .formats import Format
from .markup import parse_html, render
from .odt_html import OdtHtml, numbered_headings
from .pieces import Pieces
from .source import Source

if TYPE_CHECKING:
    from zipfile import ZipFile

_TYPES = ("application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text-template")
_MANIFEST = "META-INF/manifest.xml"


def is_odt(archive: ZipFile) -> bool:
    """Whether an archive is an ODT file."""
    parts = archive.namelist()
    return "mimetype" in parts and archive.read("mimetype").strip().decode("ascii", "replace") in _TYPES


def read_odt(data: bytes, name: str) -> Source:
    """The text of an ODT file; its headings are the sections.

    Footnotes stand in brackets where their mark is, comments too. Without headers and footers, deleted text, formulas
    and pictures. Raises ValueError for a file that is broken, locked or too large.
    """
    pieces = Pieces()
    with open_archive(data, name, "an ODT") as archive:
        parts = archive.namelist()
        if _MANIFEST in parts:
            manifest = parse_xml(read_part(archive, _MANIFEST, name), name)
            if manifest.find(".//{*}encryption-data") is not None:
                raise UnreadableError(f"{name} is locked with a password: save it without one first")
        content = parse_xml(read_part(archive, "content.xml", name), name)
        styles = parse_xml(read_part(archive, "styles.xml", name), name) if "styles.xml" in parts else Element("none")
        body = content.find("{*}body/{*}text")
        if body is None:
            raise UnreadableError(f"{name} has no text in its content.xml")
        converter = OdtHtml(content, styles)
        page = render(parse_html(converter.html(body)))
        pieces.part(page.text, page.headings)
        pieces.warnings += page.warnings
        n_pictures = sum(1 for _ in body.iterfind(".//{*}frame/{*}image"))
        if n_pictures:
            pieces.warnings.append(f"{n_pictures} pictures were not read")
        if numbered_headings(styles) and page.headings:
            pieces.warnings.append("headings have numbers that the program counts: they were not read")
    return pieces.source(name)


FORMAT = Format(read_odt, in_archive=is_odt)
