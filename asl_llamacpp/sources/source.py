"""What a reader gives back: the text of a document, and where its pages and sections begin."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .places import Rect

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
class Heading:
    """Where a section begins, what it is called, and how deep it is: 1 for the largest."""

    start: int
    title: str
    level: int = 1


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
    warnings: tuple[str, ...] = ()
    """What was not read, or not for certain: a sentence each."""
    headings: tuple[Heading, ...] = ()
    """The sections, sorted by `start`."""
    page_labels: tuple[str, ...] = ()
    """What is printed on each page as its number. Empty: nothing else than 1, 2, 3..."""
    char_rects: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    """float32 [len(text), 4]: of each character its `Rect` on the page that `place` tells; NaN for what reading put in
    between. None: the format has no such places, or the document was saved and opened again."""

    def place(self, offset: int) -> tuple[int | None, str | None]:
        """Page and section of the character at an offset; (None, None) where the document has neither."""
        at = bisect_right(self.marks, offset, key=lambda mark: mark.start) - 1
        return (None, None) if at < 0 else (self.marks[at].page, self.marks[at].section)

    @property
    def n_pages(self) -> int | None:
        """How many pages the document has. None: its format has no pages."""
        return self.marks[-1].page if self.marks else None

    def page_label(self, page: int | None) -> str | None:
        """What is printed on a page as its number, where that is something else than the number itself."""
        if page is None or page > len(self.page_labels):
            return None
        label = self.page_labels[page - 1].strip()
        return label if label != str(page) and label else None

    def pages(self) -> list[tuple[int, int]]:
        """Where the text of each page begins and ends, character offsets; empty where the format has no pages."""
        starts: dict[int, int] = {}
        for mark in self.marks:
            if mark.page is not None:
                starts.setdefault(mark.page, mark.start)
        begins = list(starts.values())
        return list(zip(begins, [*begins, len(self.text)][1:], strict=True)) if begins else []

    def rects(self, start: int, end: int) -> list[tuple[int, Rect]]:
        """Page and rectangle of each piece of a line that the characters [start, end) are painted in.

        Empty where the format has no such places.
        """
        from .places import line_rects

        if self.char_rects is None:
            return []
        return line_rects(self.char_rects, lambda offset: self.place(offset)[0], start, end)


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
