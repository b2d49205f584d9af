"""PDF files with a text layer."""

from __future__ import annotations

from .errors import UnreadableError, parsing
from .formats import Format
from .pdf_document import document_text
from .pdf_ocr import read_pictures
from .pdf_outline import outline_entries, placed
from .pdf_text import read_pages
from .pdf_warnings import HOW_TO_READ
from .pdfium.opening import LOCK, open_pdf
from .reading import Reading
from .source import Source, make_marks

_AS_IS = Reading()
_HEADER = b"%PDF-"
_HEADER_WITHIN = 1024  # readers accept some bytes before the header


def begins_as_pdf(data: bytes) -> bool:
    """Whether a PDF header is in the first KiB. Text about PDF files has one, too, but it has no objects."""
    return data.startswith(_HEADER) or (_HEADER in data[:_HEADER_WITHIN] and b"endobj" in data)


def read_pdf(data: bytes, name: str, reading: Reading = _AS_IS) -> Source:
    """The text of all pages in reading order, a blank line between two pages.

    Lines of a paragraph are joined, tables are Markdown's, filled form fields stand where they are on the page, and
    comments at its end. The outline gives the sections, or else lines that are larger than the text.

    Raises ValueError for a file that is broken or locked, or has no text layer.
    """
    with open_pdf(data, name, reading.password) as document, parsing(name, "a PDF"):
        pages = read_pages(document, lambda done, n: reading.report(name, done, n))
        read_pictures(document, pages, name, reading)
        with LOCK:
            outline = outline_entries(document)
            labels = tuple(document.get_page_label(index) for index in range(len(document)))
    text = document_text(pages, reading.ocr)
    if not text.text:
        raise UnreadableError(f"{name} has no text layer, only images ({len(pages)} pages): {HOW_TO_READ}")
    headings = placed(outline, text.text, text.starts) or text.headings
    sections = [(heading.start, heading.title) for heading in headings]
    usual = tuple(str(number) for number in range(1, len(pages) + 1))
    return Source(
        name,
        text.text,
        make_marks(text.starts, sections),
        tuple(text.warnings),
        tuple(headings),
        labels if any(labels) and labels != usual else (),
        text.rects,
    )


FORMAT = Format(read_pdf, in_bytes=begins_as_pdf, read_with=read_pdf)
