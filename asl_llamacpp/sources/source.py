"""What a reader gives back: the text of a document, and where its pages and sections begin."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

Section: TypeAlias = tuple[int, str]  # character offset, heading


@dataclass(frozen=True)
class Mark:
    """Where a page or a section begins."""

    start: int
    """Character offset in `Source.text`."""
    page: int | None
    """Counted from 1. None: the format has no pages."""
    section: str | None
    """The heading that the text from here on stands under. None: before the first."""


@dataclass(frozen=True)
class Source:
    """A document as text.

    `text` of plain text and Markdown is what the file holds, so its offsets are those in the file, opened as text.
    Of the other formats it is what was extracted.
    """

    name: str
    """The file's name, "standard input" or "text"."""
    text: str
    marks: tuple[Mark, ...] = ()
    """Sorted by `start`; the first is at 0, if there is any."""

    def place(self, offset: int) -> tuple[int | None, str | None]:
        """Page and section of the character at an offset; (None, None) where the document has neither."""
        at = bisect_right(self.marks, offset, key=lambda mark: mark.start) - 1
        return (None, None) if at < 0 else (self.marks[at].page, self.marks[at].section)

    @property
    def n_pages(self) -> int | None:
        """How many pages the document has. None: its format has no pages."""
        return self.marks[-1].page if self.marks else None


def make_marks(pages: Iterable[int], sections: Iterable[Section]) -> tuple[Mark, ...]:
    """The marks of a document from the starts of all its pages, sorted, and from its sections, in any order."""
    events: list[Section | tuple[int, None]] = [(start, None) for start in pages]
    events += sections
    page: int | None = None
    section: str | None = None
    marks: list[Mark] = []
    for start, heading in sorted(events, key=lambda event: event[0]):  # stable: a page before the headings on it
        if heading is None:
            page = (page or 0) + 1
        else:
            section = heading
            if marks and marks[-1].start == start:
                marks.pop()
        marks.append(Mark(start, page, section))
    if marks and marks[0].start > 0:
        marks.insert(0, Mark(0, None, None))
    return tuple(marks)
