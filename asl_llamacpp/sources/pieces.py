"""A document put together from paragraphs, tables, headings and pages, with their offsets."""

from __future__ import annotations

from collections.abc import Sequence

from .markdown_table import markdown_table
from .plain_text import clean
from .source import Heading, Source, make_marks

_BETWEEN = "\n\n"


class Pieces:
    """Pieces are divided by a blank line; empty ones are left out.

    warnings  sentences about what was not read
    """

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._length = 0
        self._pages: list[int] = []
        self._headings: list[Heading] = []
        self.warnings: list[str] = []

    def page(self) -> None:
        """A page begins."""
        self._pages.append(self._next)

    def heading(self, title: str, level: int = 1) -> None:
        """A section begins, with Markdown's heading."""
        title = " ".join(clean(title).split())
        if title:
            self._headings.append(Heading(self._next, title, level))
            self.text("#" * level + " " + title)

    def text(self, text: str) -> None:
        """A paragraph, or several."""
        text = "\n".join(line.rstrip() for line in clean(text).split("\n")).strip("\n")
        if text:
            self._length = self._next + len(text)
            self._texts.append(text)

    def part(self, text: str, headings: Sequence[Heading]) -> None:
        """A text with headings of its own, as it is."""
        if text:
            self._headings += [Heading(self._next + one.start, one.title, one.level) for one in headings]
            self._length = self._next + len(text)
            self._texts.append(text)

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """A table, whose first row is its head; a single cell is a paragraph."""
        if len(rows) == 1 and len(rows[0]) == 1:
            self.text(rows[0][0])
        else:
            self.text(markdown_table(rows))

    @property
    def _next(self) -> int:
        return self._length + len(_BETWEEN) if self._texts else 0

    def source(self, name: str, page_labels: tuple[str, ...] = ()) -> Source:
        """The document."""
        text = _BETWEEN.join(self._texts)
        pages = [min(start, len(text)) for start in self._pages]
        headings = tuple(one for one in self._headings if one.start < len(text))
        marks = make_marks(pages, [(heading.start, heading.title) for heading in headings])
        return Source(name, text, marks, tuple(self.warnings), headings, page_labels)
