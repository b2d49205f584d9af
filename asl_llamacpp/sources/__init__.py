"""Documents as text with pages, sections and character offsets; one file a format.

A new format is one more file here, and one more line in `formats.FORMATS`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .content import AS_IS, file_bytes, limited, read_bytes, with_text
from .formats import READABLE
from .reading import PageProgress, Reading
from .source import Heading, Mark, Source
from .text import make_text_source

__all__ = [
    "AS_IS",
    "READABLE",
    "Heading",
    "Mark",
    "PageProgress",
    "Reading",
    "Source",
    "document_name",
    "read_source",
    "text_source",
]

STDIN = "-"


def document_name(source: str | Path) -> str:
    """How to call the document in messages: the file's name, or "standard input"."""
    return "standard input" if str(source) == STDIN else Path(source).name


def read_source(source: str | Path, reading: Reading = AS_IS) -> Source:
    """A document as text, with its pages and sections, read in this process and without limits of time and memory.

    Args:
        source: path of a file of one of the `FORMATS`, or "-" for standard input. What it is shows
            in its bytes; only .html and .md files are known by their names too. Text is UTF-8, or UTF-16 or UTF-32
            with a byte order mark.
        reading: a password, and what else readers may want to know.

    Raises:
        FileNotFoundError, IsADirectoryError, PermissionError: the file cannot be read.
        ValueError: there is no text in it, it is of another kind or encoding, or it is broken, locked or too large.
    """
    name = document_name(source)
    data = limited(sys.stdin.buffer, name) if str(source) == STDIN else file_bytes(Path(source))
    return read_bytes(data, name, reading)


def text_source(text: str, name: str = "text") -> Source:
    """A text that is at hand, unchanged; Markdown's headings are its sections, form feeds divide its pages.

    Raises ValueError for one that is empty.
    """
    return with_text(make_text_source(text, name))
