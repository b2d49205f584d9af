"""EPUB files: chapters of XHTML in an archive, in the order that the package document tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from .archive import open_archive, parse_xml, read_part
from .epub_toc import chapter_labels, part_name
from .errors import UnreadableError
from .formats import Format
from .html import decode_html
from .markup import html_to_text, parse_html
from .source import Section, Source, make_marks

if TYPE_CHECKING:
    from zipfile import ZipFile

_CONTAINER, _ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
_CHAPTER_TYPES = ("application/xhtml+xml", "text/html")
# these garble fonts, so that they are of no use outside the book; the text stays as it is
_FONT_ALGORITHMS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_BETWEEN_CHAPTERS = "\n\n"


@dataclass(frozen=True)
class Package:
    """What the package document says: parts by their names in the archive."""

    title: str
    chapters: list[str]
    tables_of_contents: list[str]
    """The one of EPUB 3 before the one of EPUB 2; empty: none."""


def is_epub(archive: ZipFile) -> bool:
    """Whether an archive is an EPUB file."""
    parts = archive.namelist()
    return _CONTAINER in parts or ("mimetype" in parts and archive.read("mimetype").strip() == b"application/epub+zip")


def read_epub(data: bytes, name: str) -> Source:
    """The chapters of an EPUB file, a blank line between two. Their headings are the sections.

    The text before a chapter's first heading stands under the chapter's name in the table of contents, or else in
    its own title. Raises ValueError for a file that is broken, too large, or protected with DRM.
    """
    with open_archive(data, name, "an EPUB") as archive:
        if _ENCRYPTION in archive.namelist():
            _check_encryption(parse_xml(read_part(archive, _ENCRYPTION, name), name), name)
        package = _package(archive, name)
        labels = chapter_labels(archive, package.tables_of_contents, name)
        sections: list[Section] = []
        texts: list[str] = []
        start = 0
        for part in package.chapters:
            soup = parse_html(decode_html(read_part(archive, part, name)))
            title = " ".join(soup.title.get_text().split()) if soup.title else ""
            label = labels.get(part) or (title if title != package.title else "")
            text, headings = html_to_text(soup)
            if text.strip():
                sections += [(start, label)] if label else []
                sections += [(start + at, heading) for at, heading in headings]
                texts.append(text)
                start += len(text) + len(_BETWEEN_CHAPTERS)
    return Source(name, _BETWEEN_CHAPTERS.join(texts), make_marks([], sections))


def _check_encryption(encryption: Element, name: str) -> None:
    for data in encryption.iterfind(".//{*}EncryptedData"):
        method = data.find("{*}EncryptionMethod")
        if method is None or method.get("Algorithm") not in _FONT_ALGORITHMS:
            raise UnreadableError(f"{name} is protected with DRM: only the shop's own reader can open it")


def _package(archive: ZipFile, name: str) -> Package:
    container = parse_xml(read_part(archive, _CONTAINER, name), name)
    rootfile = container.find(".//{*}rootfile")
    root = "" if rootfile is None else rootfile.get("full-path", "")
    package = parse_xml(read_part(archive, root, name), name)
    items = {item.get("id"): item for item in package.iterfind("{*}manifest/{*}item")}
    parts = {key: part_name(root, item.get("href", "")) for key, item in items.items()}
    spine = [items.get(ref.get("idref")) for ref in package.iterfind("{*}spine/{*}itemref")]
    chapters = [item for item in spine if item is not None and item.get("media-type") in _CHAPTER_TYPES]
    navigation = [parts[key] for key, item in items.items() if "nav" in item.get("properties", "").split()]
    ncx = [parts[key] for key, item in items.items() if item.get("media-type") == "application/x-dtbncx+xml"]
    title = package.findtext("{*}metadata/{http://purl.org/dc/elements/1.1/}title", "")
    return Package(" ".join(title.split()), [parts[item.get("id")] for item in chapters], navigation + ncx)


FORMAT = Format(read_epub, in_archive=is_epub)
