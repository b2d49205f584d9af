"""The outline of a PDF file, which readers show beside the pages, as sections of its text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .plain_text import clean
from .source import Heading

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

_LONGEST_TITLE = 300  # characters; a longer one is not looked for
_DEEPEST = 15
_MOST = 20_000


@dataclass(frozen=True)
class Entry:
    """Page, counted from 0, that a title leads to; the level of the largest is 1."""

    page: int
    title: str
    level: int


def outline_entries(document: PdfDocument) -> list[Entry]:
    """All entries that lead to a page, those of lower levels after the one above; none where it is broken."""
    import pypdfium2

    entries: list[Entry] = []
    try:
        for bookmark in document.get_toc(max_depth=_DEEPEST):
            if len(entries) >= _MOST:
                break
            target = bookmark.get_dest()
            page = None if target is None else target.get_index()
            title = " ".join(clean(bookmark.get_title().replace("\0", "")).split())
            if title and page is not None and 0 <= page < len(document):
                entries.append(Entry(page, title, bookmark.level + 1))
    except (pypdfium2.PdfiumError, ValueError, RecursionError):  # the text has been read
        return entries
    return entries


def placed(entries: Sequence[Entry], text: str, starts: Sequence[int]) -> list[Heading]:
    """The entries as sections of the text.

    An entry begins at the line on its page that reads like it. Without such a line, the first entry that leads to a
    page begins where the page does, and others are left out.

    Args:
        entries: in any order of pages.
        text: of all pages.
        starts: offsets of the pages in it.
    """
    ends = [*starts[1:], len(text)]
    headings: list[Heading] = []
    page_before = -1
    below = 0  # where titles are looked for: two on a page may read alike
    for entry in sorted(entries, key=lambda entry: entry.page):
        is_first = entry.page != page_before
        below = starts[entry.page] if is_first else below
        found = _find(entry.title, text, below, ends[entry.page])
        if found is not None:
            below = found + 1
        elif not is_first:
            continue  # somewhere below the entry before: text under that one is not to go under this one
        headings.append(Heading(starts[entry.page] if found is None else found, entry.title, entry.level))
        page_before = entry.page
    return headings


def _find(title: str, text: str, start: int, end: int) -> int | None:
    """Offset of the line that is the title, perhaps with a number before it. None: there is no such line."""
    if len(title) > _LONGEST_TITLE:
        return None
    words = r"\s+".join(re.escape(word) for word in title.split())
    line = re.compile(rf"^[ \t]*(?:[\w.]{{1,12}}[ \t]+)?{words}[ \t]*$", re.MULTILINE | re.IGNORECASE)
    match = line.search(text, start, end)
    return match.start() if match else None
