"""What a document is: told from its bytes, and where these leave it open, from its name."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import PurePath
from typing import TypeAlias

from .archive import begins_as_zip
from .docx import is_docx, read_docx
from .epub import is_epub, read_epub
from .errors import READABLE, UnreadableError
from .html import HTML_SUFFIXES, begins_as_html, read_html
from .pdf import begins_as_pdf, read_pdf
from .source import Source
from .text import MARKDOWN_SUFFIXES, read_text

Reader: TypeAlias = Callable[[bytes, str], Source]

_OLE = bytes.fromhex("d0cf11e0a1b11ae1")  # the container of .doc, .xls and .ppt, and of .docx with a password
_LOCKED_PART = "EncryptedPackage".encode("utf-16-le")
_OTHER_ARCHIVES = {
    "xl/workbook.xml": "an Excel file",
    "ppt/presentation.xml": "a PowerPoint file",
    "content.xml": "an OpenDocument file",
}


def reader_for(data: bytes, name: str) -> Reader:
    """The function that reads a document. Raises ValueError for kinds that cannot be read; it names those that can."""
    if begins_as_zip(data):
        return _archive_reader(data, name)
    if begins_as_pdf(data):
        return read_pdf
    if data.startswith(_OLE):
        if _LOCKED_PART in data:
            raise UnreadableError(f"{name} is locked with a password: save it without one first")
        raise _unsupported(name, "an old Word, Excel or PowerPoint file")
    if data.startswith(b"{\\rtf"):
        raise _unsupported(name, "an RTF file")
    suffix = PurePath(name).suffix.lower()
    if suffix in HTML_SUFFIXES or (suffix not in MARKDOWN_SUFFIXES and begins_as_html(data)):
        return read_html
    return read_text


def _archive_reader(data: bytes, name: str) -> Reader:
    from zipfile import ZipFile

    try:
        with ZipFile(io.BytesIO(data)) as archive:
            parts = archive.namelist()
            if is_docx(parts):
                return read_docx
            if is_epub(archive):
                return read_epub
    except Exception:  # zipfile raises errors of many kinds on damaged archives
        raise UnreadableError(
            f"{name} is a binary file, a ZIP archive that is cut off or damaged: get it once more. Only {READABLE}"
        ) from None
    raise _unsupported(name, next((kind for part, kind in _OTHER_ARCHIVES.items() if part in parts), "a ZIP archive"))


def _unsupported(name: str, kind: str) -> UnreadableError:
    return UnreadableError(f"{name} is {kind}: save it as DOCX or PDF first, since only {READABLE}")
