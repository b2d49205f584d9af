"""Plain text and Markdown."""

from __future__ import annotations

import codecs
from dataclasses import replace
from pathlib import PurePath

from .errors import UnreadableError
from .formats import READABLE, Format
from .headings import headings, looks_like_markdown, page_starts
from .source import Heading, Source, make_marks
from .western import western_text

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

    Raises ValueError for what is not UTF-8, UTF-16 or UTF-32, the last two with a byte order mark, nor plainly
    windows-1252, and for binary files.
    """
    text, warnings = _decode(data, name)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return replace(make_text_source(text, name, PurePath(name).suffix.lower()), warnings=warnings)


def make_text_source(text: str, name: str, suffix: str = "") -> Source:
    """A text with its marks; the suffix of the file's name, in lower case, tells what its "#" mean."""
    is_markdown = suffix in _MARKDOWN_SUFFIXES or (suffix in _PLAIN_SUFFIXES and looks_like_markdown(text))
    sections = headings(text) if is_markdown else []
    titles = tuple(Heading(start, title, _level(text, start)) for start, title in sections)
    return Source(name, text, make_marks(page_starts(text), sections), headings=titles)


def _level(text: str, start: int) -> int:
    """Of a heading of Markdown, which begins with hashes, or has a line of = or - below it."""
    line, _, below = text[start : start + 2000].lstrip(" ").partition("\n")
    n = len(line) - len(line.lstrip("#"))
    return n or (1 if below.lstrip(" ").startswith("=") else 2)


def _decode(data: bytes, name: str) -> tuple[str, tuple[str, ...]]:
    """The text, and what is to be said about it."""
    encoding = marked_encoding(data)
    binary = UnreadableError(f"{name} is a binary file: only {READABLE}")
    try:
        text = data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is None and b"\0" in data:
            raise binary from None
        western = western_text(data) if encoding is None else None
        if western is not None:
            return western, ("it is not in UTF-8, and was read as windows-1252 (Western European)",)
        raise UnreadableError(
            f"{name} is not {(encoding or 'utf-8').upper()} text (byte {error.start}: {error.reason}): save it as "
            "UTF-8, or convert it from the encoding that it has, for example with: iconv -f CP1251 -t UTF-8"
        ) from None
    if "\0" in text:
        raise binary
    return text, ()


FORMAT = Format(read_text, suffixes=_MARKDOWN_SUFFIXES)
