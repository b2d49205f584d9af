"""Pages of a PDF file that are pictures, read by OCR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .layout.lines import merged
from .ocr import WIDTH, has_ocr, recognised
from .pdf_pages import page_pixels
from .pdf_text import PageContent
from .reading import Reading

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument


def read_pictures(document: PdfDocument, pages: Sequence[PageContent], name: str, reading: Reading) -> None:
    """Read the pages that cannot be read otherwise, if that is wanted, and OCR is installed; tells how far it is."""
    unread = [index for index, page in enumerate(pages) if page.is_picture or page.is_garbled]
    if not unread or not reading.ocr or not has_ocr():
        return
    for done, index in enumerate(unread):

        def alive(done: int = done) -> None:
            reading.report(name, done, len(unread), by_ocr=True)

        alive()
        page = pages[index]
        lines = recognised(page_pixels(document, index, WIDTH, name), page.size, alive)
        if lines:
            page.pieces = [merged(lines)]
            page.by_ocr = True
    reading.report(name, len(unread), len(unread), by_ocr=True)
