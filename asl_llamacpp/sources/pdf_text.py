"""What each page of a PDF file has: pieces of lines, filled fields, comments, drawings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .layout.fragment import Fragment
from .layout.lines import fragments, merged
from .pdfium.drawings import Drawings, page_drawings
from .pdfium.frame import PageFrame, Rect
from .pdfium.glyphs import Glyphs, page_glyphs
from .pdfium.notes import Note, page_notes
from .pdfium.opening import open_page

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

_FIELD_SIZE = 12.0  # points at most, of a value that was filled in
_FEW_LETTERS = 50
_MOSTLY = 0.6  # of a page: a picture with a few letters on it
_DRAWN = 100  # paths: letters may be among them
_GARBLED = 0.2  # of the characters of a page: too many have no meaning


@dataclass
class PageContent:
    """pieces   of lines, upright ones first; one list for each direction that text runs in
    comments notes that are not on a line of the text
    drawings lines and pictures
    size     width and height, points
    n_glyphs characters that the page paints, and n_unknown those of them that mean nothing
    by_ocr   whether the pieces were read in its picture
    """

    pieces: list[list[Fragment]]
    comments: list[Note]
    drawings: Drawings
    size: tuple[float, float]
    n_glyphs: int
    n_unknown: int
    by_ocr: bool = False

    @property
    def is_garbled(self) -> bool:
        """Whether most of its text has no meaning."""
        return self.n_unknown > _GARBLED * self.n_glyphs

    @property
    def is_picture(self) -> bool:
        """Whether what there is to read can only be in its pictures or drawings."""
        if self.n_glyphs == 0:
            return bool(self.drawings.pictures) or self.drawings.n_paths > _DRAWN
        return self.n_glyphs < _FEW_LETTERS and self.pictured > _MOSTLY

    @property
    def pictured(self) -> float:
        """How much of the page is covered by pictures, 0 to 1."""
        width, height = self.size
        areas = [_area(rect, width, height) for rect in self.drawings.pictures]
        return min(sum(areas) / max(width * height, 1.0), 1.0)


def read_pages(document: PdfDocument, on_page: Callable[[int, int], None] | None = None) -> list[PageContent]:
    """The contents of all pages; `on_page` gets how many are done, and how many there are."""
    pages = []
    for index in range(len(document)):
        pages.append(read_page(document, index))
        if on_page is not None:
            on_page(index + 1, len(document))
    return pages


def read_page(document: PdfDocument, index: int) -> PageContent:
    """The content of a page, counted from 0."""
    with open_page(document, index) as page:
        frame = PageFrame.of(page)
        glyphs = page_glyphs(page, frame)
        notes = page_notes(document, page, frame)
        drawings = page_drawings(page, frame)
    fields = [_field(note) for note in notes if note.kind != "comment"]
    comments = [note for note in notes if note.kind == "comment"]
    pieces = _by_direction(glyphs, fields)
    n_glyphs = sum(not char.isspace() for char in glyphs.chars)
    return PageContent(pieces, comments, drawings, frame.size, n_glyphs, glyphs.n_unknown)


def _by_direction(glyphs: Glyphs, fields: Sequence[Fragment]) -> list[list[Fragment]]:
    found = []
    for turns in sorted(set(glyphs.turns) | {0}, key=lambda turns: (-glyphs.turns.count(turns), turns)):
        at = [i for i, own in enumerate(glyphs.turns) if own == turns]
        rects = [glyphs.rects[i] for i in at]
        boxes = [_upright(rect, turns) for rect in rects]
        pieces = fragments([glyphs.chars[i] for i in at], rects, [glyphs.sizes[i] for i in at], boxes)
        pieces += fields if turns == 0 else []
        if pieces:
            found.append(merged(pieces))
    return found


def _upright(rect: Rect, turns: int) -> Rect:
    """A rectangle in the frame that text which is turned clockwise by 90 degrees so often is upright in."""
    x0, y0, x1, y1 = rect
    for _ in range(turns):
        x0, y0, x1, y1 = y0, -x1, y1, -x0
    return x0, y0, x1, y1


def _field(note: Note) -> Fragment:
    """A value as a piece of a line: as high as text is, in the middle of its field."""
    x0, y0, x1, y1 = note.rect
    size = min(y1 - y0, _FIELD_SIZE) if y1 > y0 else _FIELD_SIZE
    middle = (y0 + y1) / 2
    if y1 - y0 > 3 * size:  # several lines: the first
        middle = y0 + size
    box = (x0, middle - size / 2, x1 if note.kind == "box" else x0 + 0.5 * size * len(note.text), middle + size / 2)
    share = (x1 - x0) / max(len(note.text), 1)
    rects: list[Rect | None] = [(x0 + i * share, y0, x0 + (i + 1) * share, y1) for i in range(len(note.text))]
    return Fragment(note.text, rects, box, size, "box" if note.kind == "box" else "field")


def _area(rect: Rect, width: float, height: float) -> float:
    x0, y0, x1, y1 = rect
    return max(min(x1, width) - max(x0, 0.0), 0.0) * max(min(y1, height) - max(y0, 0.0), 0.0)
