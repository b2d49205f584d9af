"""The table of contents of an EPUB file: what the book calls its chapters."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import ParseError

from .archive import parse_xml, read_part
from .html import decode_html
from .markup import parse_html
from .plain_text import clean

if TYPE_CHECKING:
    from zipfile import ZipFile


def part_name(base: str, reference: str) -> str:
    """The name in the archive of what a part refers to, without the place in it."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), unquote(urlsplit(reference).path)))


def chapter_labels(archive: ZipFile, tables: list[str], name: str) -> dict[str, str]:
    """Label by part, from the first of these tables of contents that has any; the first entry for a part counts."""
    for table in tables:
        if table not in archive.namelist():
            continue
        data = read_part(archive, table, name)
        entries = _from_ncx(data, name) if table.endswith(".ncx") else _from_navigation(data)
        labels: dict[str, str] = {}
        for reference, label in entries:
            label = " ".join(clean(label.replace("\0", "")).split())
            if label:
                labels.setdefault(part_name(table, reference), label)
        if labels:
            return labels
    return {}


def _from_navigation(data: bytes) -> list[tuple[str, str]]:
    """Of EPUB 3: the links in the navigation document, whose first <nav> is mostly the table of contents."""
    navigations = list(parse_html(decode_html(data)).all("nav"))
    tables = [nav for nav in navigations if nav.attrs.get("epub:type") == "toc"] or navigations
    links = tables[0].all("a") if tables else ()
    return [(link.attrs["href"], link.text()) for link in links if "href" in link.attrs]


def _from_ncx(data: bytes, name: str) -> list[tuple[str, str]]:
    """Of EPUB 2. None where it is broken: the book can be read without."""
    try:
        points = parse_xml(data, name).iterfind(".//{*}navPoint")
    except ParseError:
        return []
    found = []
    for point in points:
        content = point.find("{*}content")
        if content is not None:
            found.append((content.get("src", ""), point.findtext("{*}navLabel/{*}text", "")))
    return found
