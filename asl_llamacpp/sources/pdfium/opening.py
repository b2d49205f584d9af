"""PDF files, opened by pdfium."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import UnreadableError

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

LOCK = threading.RLock()
"""Whoever calls pdfium holds it: pdfium has state of its own, and no locks."""


@contextmanager
def open_pdf(data: bytes, name: str, password: str | None = None) -> Iterator[PdfDocument]:
    """A PDF file with its form fields. Take `LOCK` for whatever is done with it.

    Raises ValueError for one that is broken, or locked with another password.
    """
    import pypdfium2
    from pypdfium2.raw import FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY

    with LOCK:
        try:
            document = pypdfium2.PdfDocument(data, password=password)
            document.init_forms()
        except pypdfium2.PdfiumError as error:
            if getattr(error, "err_code", None) == FPDF_ERR_PASSWORD:
                raise UnreadableError(_locked(name, password)) from None
            if getattr(error, "err_code", None) == FPDF_ERR_SECURITY:
                raise UnreadableError(
                    f"{name} is encrypted in a way that only the program it comes from can open: save it without"
                ) from None
            raise UnreadableError(
                f"{name} cannot be read as a PDF file: it is cut off or damaged. If other programs open it, save it "
                "anew with one of them"
            ) from None
    try:
        yield document
    finally:
        with LOCK:
            document.close()


@contextmanager
def open_page(document: PdfDocument, index: int) -> Iterator[PdfPage]:
    """A page, from 0, while `LOCK` is held."""
    with LOCK:
        page = document[index]
        try:
            yield page
        finally:
            page.close()


def _locked(name: str, password: str | None) -> str:
    if password is None:
        return f"{name} is locked with a password: give it with --password, or password= in Python"
    return f"{name} is locked with another password than the one given"
