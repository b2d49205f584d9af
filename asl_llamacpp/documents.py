"""Reading a document to ask about: text, Markdown or PDF, from a file or from standard input."""

from __future__ import annotations

import codecs
import io
import logging
import sys
from pathlib import Path

STDIN = "-"

# UTF-32's little-endian mark begins with UTF-16's, so it has to be tried first
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PDF_HEADER = b"%PDF-"
_PDF_HEADER_WITHIN = 1024  # readers accept some bytes before the header


def document_name(source: str | Path) -> str:
    """How to call the document in messages: the file's name, or "standard input"."""
    return "standard input" if str(source) == STDIN else Path(source).name


def read_document(source: str | Path) -> str:
    """The text of a document, with "\\n" as line end and no blank lines around it.

    Args:
        source: path of a text, Markdown or PDF file, or "-" for standard input. What it is shows in its bytes,
            not in its name. Text is UTF-8, or UTF-16 or UTF-32 with a byte order mark.

    Raises:
        FileNotFoundError, IsADirectoryError, PermissionError: the file cannot be read.
        ValueError: it is empty, it is not text in one of these encodings, or it is a PDF file that is broken, locked
            or has no text layer.
    """
    name = document_name(source)
    data = sys.stdin.buffer.read() if str(source) == STDIN else _read_file(Path(source))
    text = _pdf_text(data, name) if _PDF_HEADER in data[:_PDF_HEADER_WITHIN] else _decode(data, name)
    text = "\n".join(text.splitlines()).strip("\n")
    if not text.strip():
        raise ValueError(f"{name} is empty: there is nothing to ask about")
    return text


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"no such document: {path}") from None
    except PermissionError:
        raise PermissionError(f"no permission to read {path}") from None
    except IsADirectoryError:
        raise IsADirectoryError(f"{path} is a directory: name one text, Markdown or PDF file in it") from None


def _decode(data: bytes, name: str) -> str:
    encoding = next((codec for mark, codec in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} is not {encoding.upper()} text (byte {error.start}: {error.reason}): "
            f"convert it first, for example with: iconv -f latin1 -t utf-8"
        ) from None
    if "\0" in text:
        raise ValueError(f"{name} is a binary file: only text, Markdown and PDF documents can be read")
    return text


def _pdf_text(data: bytes, name: str) -> str:
    """The text of all pages, a blank line between two pages."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns about flaws that it repairs by itself
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise ValueError(f"{name} is locked with a password: remove it first, for example with: qpdf --decrypt")
        pages = [page.extract_text().strip() for page in reader.pages]
    except (PyPdfError, ImportError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{name} cannot be read as a PDF file: {error}") from None
    text = "\n\n".join(page for page in pages if page)
    if not text:
        raise ValueError(
            f"{name} has no text layer, only images ({len(pages)} pages): add one first, for example with: ocrmypdf"
        )
    return text
