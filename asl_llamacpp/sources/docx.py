"""DOCX files: what Word, LibreOffice and others save."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from .archive import open_archive, parse_xml, read_part
from .errors import UnreadableError
from .formats import Format
from .left_out import hidden_words
from .markup import render
from .source import Source, make_marks
from .word.body import Body
from .word.numbering import Numbering
from .word.parts import attribute, child, children
from .word.styles import Styles

if TYPE_CHECKING:
    from zipfile import ZipFile

_TEXT_PART = re.compile(r"word/document\d*\.xml")  # some programs number it
_BESIDE = {"styles": "word/styles.xml", "numbering": "word/numbering.xml", "comments": "word/comments.xml"}
_NOTES = {"footnote": "word/footnotes.xml", "endnote": "word/endnotes.xml"}


def is_docx(archive: ZipFile) -> bool:
    """Whether an archive is a DOCX file."""
    return any(_TEXT_PART.fullmatch(part) for part in archive.namelist())


def read_docx(data: bytes, name: str) -> Source:
    """The text of a DOCX file; its headings, by style or outline level, are the sections.

    Paragraphs have the numbers that Word shows, a comment stands below its paragraph, notes stand at the end. Without
    headers and footers, deleted text, and hidden text, whose words are counted. Raises ValueError for a file that is
    broken, locked or too large.
    """
    with open_archive(data, name, "a DOCX") as archive:
        parts = {key: _part(archive, part, name) for key, part in (_BESIDE | _NOTES).items()}
        main = next(part for part in archive.namelist() if _TEXT_PART.fullmatch(part))
        document = child(parse_xml(read_part(archive, main, name), name), "body")
        if document is None:
            raise UnreadableError(f"{name} is incomplete: it has no body in it")
        styles = Styles(parts["styles"])
        body = Body(styles, Numbering(parts["numbering"], styles))
        for kind in _NOTES:
            body.notes |= {(kind, attribute(note, "id") or ""): note for note in children(parts[kind], kind)}
        body.comments = {
            attribute(comment, "id") or "": (attribute(comment, "author") or "", _plain(comment))
            for comment in children(parts["comments"], "comment")
        }
        page = render(body.tree(document))
    hidden = hidden_words(body.n_hidden, "in Word")
    sections = [(heading.start, heading.title) for heading in page.headings]
    warnings = (hidden,) if body.n_hidden else ()
    return Source(name, page.text, make_marks([], sections), warnings, tuple(page.headings))


def _part(archive: ZipFile, part: str, name: str) -> Element | None:
    return parse_xml(read_part(archive, part, name), name) if part in archive.namelist() else None


def _plain(comment: Element) -> str:
    paragraphs = ("".join(text.text or "" for text in line.iterfind(".//{*}t")) for line in comment)
    return " ".join(" ".join(paragraphs).split())


FORMAT = Format(read_docx, in_archive=is_docx)
