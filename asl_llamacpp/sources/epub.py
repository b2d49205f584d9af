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
from .left_out import hidden_words
from .markup import parse_html, render
from .plain_text import clean
from .source import Heading, Source, make_marks

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
    lost: list[str]
    """What stands in the order of reading, but in no list of parts."""


def is_epub(archive: ZipFile) -> bool:
    """Whether an archive is an EPUB file."""
    parts = archive.namelist()
    return _CONTAINER in parts or ("mimetype" in parts and archive.read("mimetype").strip() == b"application/epub+zip")


def read_epub(data: bytes, name: str) -> Source:
    """The chapters of an EPUB file, a blank line between two. Their headings are the sections.

    The text before a chapter's first heading stands under the chapter's name in the table of contents, or else in
    its own title. A chapter that is missing or damaged is named in the warnings. Raises ValueError for a file that is
    broken or too large, has no chapter that can be read, or is protected with DRM.
    """
    with open_archive(data, name, "an EPUB") as archive:
        if _ENCRYPTION in archive.namelist():
            _check_encryption(parse_xml(read_part(archive, _ENCRYPTION, name), name), name)
        package = _package(archive, name)
        labels = chapter_labels(archive, package.tables_of_contents, name)
        headings: list[Heading] = []
        texts: list[str] = []
        warnings: list[str] = [f"its chapter {lost!r} is not in it, and was not read" for lost in package.lost]
        start = n_hidden = 0
        for part in package.chapters:
            try:
                tree = parse_html(decode_html(read_part(archive, part, name)))
            except MemoryError:
                raise
            except Exception as error:  # damage of one chapter, of any kind: the others can be read
                missing = part not in archive.namelist()
                why = "is not in it" if missing else f"is damaged ({error or type(error).__name__})"
                warnings.append(f"its chapter {part!r} {why}, and was not read")
                continue
            title = next((" ".join(clean(found.text()).split()) for found in tree.all("title")), "")
            label = labels.get(part) or (title if title != package.title else "")
            chapter = render(tree)
            n_hidden += chapter.n_hidden
            if chapter.text.strip():
                headings += [Heading(start, label)] if label else []
                headings += [Heading(start + own.start, own.title, own.level) for own in chapter.headings]
                texts.append(chapter.text)
                start += len(chapter.text) + len(_BETWEEN_CHAPTERS)
        if not texts and warnings:
            raise UnreadableError(f"{name} is incomplete: {warnings[0].partition(', ')[0]}")
    sections = [(heading.start, heading.title) for heading in headings]
    text = _BETWEEN_CHAPTERS.join(texts)
    if n_hidden:
        warnings.append(hidden_words(n_hidden, "in a reader"))
    return Source(name, text, make_marks([], sections), tuple(warnings), tuple(headings))


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
    references = [ref.get("idref", "") for ref in package.iterfind("{*}spine/{*}itemref")]
    spine = [items.get(reference) for reference in references]
    chapters = [item for item in spine if item is not None and item.get("media-type") in _CHAPTER_TYPES]
    navigation = [parts[key] for key, item in items.items() if "nav" in item.get("properties", "").split()]
    ncx = [parts[key] for key, item in items.items() if item.get("media-type") == "application/x-dtbncx+xml"]
    lost = [reference for reference in references if reference not in items]
    title = package.findtext("{*}metadata/{http://purl.org/dc/elements/1.1/}title", "")
    return Package(" ".join(title.split()), [parts[item.get("id")] for item in chapters], navigation + ncx, lost)


FORMAT = Format(read_epub, in_archive=is_epub)
