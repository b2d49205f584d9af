"""PDF files with a text layer."""

from __future__ import annotations

import io
import logging

from .errors import UnreadableError, parsing
from .formats import Format
from .markup import clean
from .pdf_outline import outline_sections
from .source import Source, make_marks

_HEADER = b"%PDF-"
_HEADER_WITHIN = 1024  # readers accept some bytes before the header
_BETWEEN_PAGES = "\n\n"


def begins_as_pdf(data: bytes) -> bool:
    """Whether a PDF header is in the first KiB. Text about PDF files has one, too, but it has no objects."""
    return data.startswith(_HEADER) or (_HEADER in data[:_HEADER_WITHIN] and b"endobj" in data)


def read_pdf(data: bytes, name: str) -> Source:
    """The text of all pages, a blank line between two pages; the outline, if there is one, gives the sections.

    Raises ValueError for a file that is broken, locked or has no text layer.
    """
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns about flaws that it repairs by itself
    with parsing(name, "a PDF"):
        try:
            reader = PdfReader(io.BytesIO(data))
            locked = reader.is_encrypted and not reader.decrypt("")
        except DependencyError:  # AES needs one more library; qpdf needs no password if readers ask for none
            locked = True
        if locked:
            raise UnreadableError(
                f"{name} is locked with a password: remove it first, for example with: qpdf --decrypt"
            )
        pages = [_lines(page.extract_text()) for page in reader.pages]
    starts, text = _join(pages)
    if not text:
        raise UnreadableError(
            f"{name} has no text layer, only images ({len(pages)} pages): add one first, for example with: ocrmypdf"
        )
    return Source(name, text, make_marks(starts, outline_sections(reader, text, starts)))


def _lines(text: str) -> str:
    return "\n".join(clean(text.replace("\0", "")).splitlines()).strip()


def _join(pages: list[str]) -> tuple[list[int], str]:
    """Where each page begins, and all pages together. A page without text is where the one before ends."""
    starts: list[int] = []
    pieces: list[str] = []
    end = 0
    for page in pages:
        if page and pieces:
            pieces.append(_BETWEEN_PAGES)
            end += len(_BETWEEN_PAGES)
        starts.append(end)
        if page:
            pieces.append(page)
            end += len(page)
    return starts, "".join(pieces)


FORMAT = Format(read_pdf, in_bytes=begins_as_pdf)
