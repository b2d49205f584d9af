"""Plain text and Markdown."""

from __future__ import annotations

import codecs
from pathlib import PurePath

from .errors import UnreadableError
from .formats import READABLE, Format
from .headings import headings, looks_like_markdown, page_starts
from .source import Source, make_marks

# UTF-32's little-endian mark begins with UTF-16's, so it has to be tried first
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MARKDOWN_SUFFIXES = frozenset({".md", ".markdown", ".mdown", ".mkd"})
_PLAIN_SUFFIXES = frozenset({"", ".txt", ".text"})


def marked_encoding(data: bytes) -> str | None:
    """The encoding that the byte order mark of a text tells; None: it has no mark."""
    return next((codec for mark, codec in _BYTE_ORDER_MARKS if data.startswith(mark)), None)


def read_text(data: bytes, name: str) -> Source:
    """A text with "\\n" as line end and no byte order mark, otherwise as it is in the file.

    Sections are Markdown's headings: in files named .md, and in plain text that has such headings. In source code
    and settings files a "#" begins a comment, so they have no sections. Pages are what form feeds divide.

    Raises ValueError for what is not UTF-8, UTF-16 or UTF-32, the last two with a byte order mark, and for
    binary files.
    """
    text = _decode(data, name).replace("\r\n", "\n").replace("\r", "\n")
    return make_text_source(text, name, PurePath(name).suffix.lower())


def make_text_source(text: str, name: str, suffix: str = "") -> Source:
    """A text with its marks; the suffix of the file's name, in lower case, tells what its "#" mean."""
    is_markdown = suffix in _MARKDOWN_SUFFIXES or (suffix in _PLAIN_SUFFIXES and looks_like_markdown(text))
    return Source(name, text, make_marks(page_starts(text), headings(text) if is_markdown else []))


def _decode(data: bytes, name: str) -> str:
    encoding = marked_encoding(data)
    binary = UnreadableError(f"{name} is a binary file: only {READABLE}")
    try:
        text = data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is None and b"\0" in data:
            raise binary from None
        raise UnreadableError(
            f"{name} is not {(encoding or 'utf-8').upper()} text (byte {error.start}: {error.reason}): "
            f"convert it first, for example with: iconv -f latin1 -t utf-8"
        ) from None
    if "\0" in text:
        raise binary
    return text


FORMAT = Format(read_text, suffixes=_MARKDOWN_SUFFIXES)
