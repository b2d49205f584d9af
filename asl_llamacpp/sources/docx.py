"""DOCX files: what Word, LibreOffice and others save."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from .archive import check_entities, open_archive, read_part
from .formats import Format
from .markup import html_to_text, parse_html
from .source import Source, make_marks

if TYPE_CHECKING:
    from zipfile import ZipFile

_TEXT_PART = re.compile(r"word/document\d*\.xml")  # some programs number it
_STYLES = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => h2:fresh"  # besides the headings


def is_docx(archive: ZipFile) -> bool:
    """Whether an archive is a DOCX file."""
    return any(_TEXT_PART.fullmatch(part) for part in archive.namelist())


def read_docx(data: bytes, name: str) -> Source:
    """The text of a DOCX file; its headings, by style, are the sections.

    Without headers and footers, comments, deleted text, formulas, and the numbers that Word gives to headings.
    Raises ValueError for a file that is broken, locked or too large.
    """
    import mammoth

    with open_archive(data, name, "a DOCX") as archive:
        html = mammoth.convert_to_html(
            _text_parts(archive, name),
            style_map=_STYLES,
            include_embedded_style_map=False,
            convert_image=mammoth.images.img_element(lambda image: {}),  # the description stays
        ).value
        text, sections = html_to_text(parse_html(html))
    return Source(name, text, make_marks([], sections))


def _text_parts(archive: ZipFile, name: str) -> io.BytesIO:
    """An archive of the XML parts alone, so that mammoth sees nothing that was not checked."""
    from zipfile import ZipFile

    parts = io.BytesIO()
    with ZipFile(parts, "w") as checked:
        for part in archive.namelist():
            if part.endswith((".xml", ".rels")):
                xml = read_part(archive, part, name)
                check_entities(xml, name)
                checked.writestr(part, xml)
    return parts


FORMAT = Format(read_docx, in_archive=is_docx)
