"""The outline of a PDF file, which readers show beside the pages, as sections of its text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .markup import clean
from .source import Section

if TYPE_CHECKING:
    from pypdf import PdfReader

_LONGEST_TITLE = 300  # characters; a longer one is not looked for


def outline_sections(reader: PdfReader, text: str, starts: list[int]) -> list[Section]:
    """The entries of the outline that lead to a page, by offset; none for an outline that is broken.

    An entry begins at the line on its page that reads like it, or at the page itself.

    Args:
        text: of all pages.
        starts: offsets of the pages in it.
    """
    try:
        entries = list(_entries(reader, reader.outline))
    except Exception:  # the text has been read, and pypdf raises errors of all kinds on damaged files
        return []
    ends = [*starts[1:], len(text)]
    sections: list[Section] = []
    for page, title in sorted(entries, key=lambda entry: entry[0]):
        start = starts[page]
        if sections and sections[-1][0] > start:
            start = sections[-1][0]  # below the entry before, on the same page
        sections.append((_find(title, text, start, ends[page]), title))
    return sections


def _entries(reader: PdfReader, outline: list[Any]) -> Iterator[tuple[int, str]]:
    """Page, counted from 0, and title of all entries, those of lower levels after the one above."""
    for entry in outline:
        if isinstance(entry, list):
            yield from _entries(reader, entry)
            continue
        page = reader.get_destination_page_number(entry)
        title = " ".join(clean(str(entry.title or "").replace("\0", "")).split())
        if title and page is not None and 0 <= page < len(reader.pages):
            yield page, title


def _find(title: str, text: str, start: int, end: int) -> int:
    """Offset of the line that is the title, perhaps with a number before it; the start if there is none."""
    if len(title) > _LONGEST_TITLE:
        return start
    words = r"\s+".join(re.escape(word) for word in title.split())
    match = re.compile(rf"^[ \t]*(?:[\w.]{{1,12}}[ \t]+)?{words}[ \t]*$", re.MULTILINE | re.IGNORECASE).search(
        text, start, end
    )
    return match.start() if match else start
