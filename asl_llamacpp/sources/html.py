"""HTML files."""

from __future__ import annotations

import codecs
import re

from .errors import UnreadableError, parsing
from .formats import READABLE, Format
from .markup import parse_html, render
from .source import Source, make_marks
from .text import marked_encoding

_BEGINNING = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*<(?:!doctype\s+html|html)\b", re.DOTALL | re.IGNORECASE
)
_BEGINNING_WITHIN = 1024
_DECLARED = re.compile(rb"""<(?:meta\b[^>]*?charset|\?xml\b[^>]*?encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_DECLARED_WITHIN = 4096
_WESTERN = "cp1252"  # what browsers take for pages that declare nothing, and for those that declare Latin-1 or ASCII


def begins_as_html(data: bytes) -> bool:
    """Whether an HTML document type or an <html> tag is the first that comes in the first KiB."""
    head = data[:_BEGINNING_WITHIN].decode(marked_encoding(data) or "latin-1", "ignore")
    return _BEGINNING.match(head) is not None


def read_html(data: bytes, name: str) -> Source:
    """The text of an HTML document; its headings are the sections. Raises ValueError for what cannot be parsed."""
    with parsing(name, "an HTML"):
        html = decode_html(data)
        if "\0" in html:
            raise UnreadableError(f"{name} is not HTML, but a binary file: only {READABLE}")
        page = render(parse_html(html))
    sections = [(heading.start, heading.title) for heading in page.headings]
    return Source(name, page.text, make_marks([], sections), page.warnings, tuple(page.headings))


def decode_html(data: bytes) -> str:
    """HTML as browsers decode it: by byte order mark, by what it declares, as UTF-8, or else as Windows-1252.

    Bytes that do not belong there become U+FFFD, as in browsers. Line ends become "\\n".
    """
    declared = _DECLARED.search(data[:_DECLARED_WITHIN])
    encoding = marked_encoding(data) or _python_codec(declared[1].decode("ascii") if declared else None)
    if encoding is None:
        try:
            html = data.decode("utf-8")
        except UnicodeDecodeError:
            html = data.decode(_WESTERN, "replace")
    else:
        html = data.decode(encoding, "replace")
    return html.replace("\r\n", "\n").replace("\r", "\n")


def _python_codec(declared: str | None) -> str | None:
    """The codec for a declared name; None for a name that says nothing about bytes."""
    try:
        codec = codecs.lookup(declared or "").name
        b"text".decode(codec, "replace")  # some of Python's codecs are not for text
    except (LookupError, ValueError):
        return None
    if codec in ("iso8859-1", "ascii"):
        return _WESTERN
    return "utf-8" if codec.startswith(("utf-16", "utf-32")) else codec  # it could not have been read in those


FORMAT = Format(read_html, suffixes=frozenset({".html", ".htm", ".xhtml"}), looks=begins_as_html)
