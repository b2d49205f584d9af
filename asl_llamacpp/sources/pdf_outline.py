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

    An entry begins at the line on its page that reads like it. Without such a line, the first entry that leads to a
    page begins where the page does, and others are left out.

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
    page_before = -1
    below = 0  # where titles are looked for: two on a page may read alike
    for page, title in sorted(entries, key=lambda entry: entry[0]):
        is_first = page != page_before
        below = starts[page] if is_first else below
        found = _find(title, text, below, ends[page])
        if found is not None:
            below = found + 1
        elif not is_first:
            continue  # somewhere below the entry before: text under that one is not to go under this one
        sections.append((starts[page] if found is None else found, title))
        page_before = page
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


def _find(title: str, text: str, start: int, end: int) -> int | None:
    """Offset of the line that is the title, perhaps with a number before it. None: there is no such line."""
    if len(title) > _LONGEST_TITLE:
        return None
    words = r"\s+".join(re.escape(word) for word in title.split())
    line = re.compile(rf"^[ \t]*(?:[\w.]{{1,12}}[ \t]+)?{words}[ \t]*$", re.MULTILINE | re.IGNORECASE)
    match = line.search(text, start, end)
    return match.start() if match else None
