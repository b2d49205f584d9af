"""The pages of a PDF file as one text, with the place of each character."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .layout.fragment import Fragment
from .layout.hyphens import Words
from .layout.page_layout import Block, page_blocks
from .layout.page_text import PageText, page_text
from .layout.paragraphs import body_size
from .layout.running_heads import without_running_heads
from .pdf_text import PageContent
from .pdf_warnings import page_warnings
from .places import Rect
from .plain_text import clean
from .source import Heading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BETWEEN_PAGES = "\n\n"
_MOST_LEVELS = 6


@dataclass
class DocumentPages:
    """text      of all pages
    starts    where each page begins; a page without text is where the one before ends
    rects     float32 [len(text), 4], NaN for what reading put in
    headings  lines that are larger than the text
    warnings  what was not read
    """

    text: str
    starts: list[int]
    rects: NDArray[np.float32]
    headings: list[Heading]
    warnings: list[str]


def document_text(pages: Sequence[PageContent], by_ocr: bool = True) -> DocumentPages:
    """The text of pages in reading order; heads that come again on each page are left out where they do."""
    readable = [[] if page.is_garbled and not page.by_ocr else page.pieces for page in pages]
    upright, _ = without_running_heads([pieces[0] if pieces else [] for pieces in readable])
    words = Words(piece.text for pieces in upright for piece in pieces)
    blocks: list[list[Block]] = []
    for page, first, pieces in zip(pages, upright, readable, strict=True):
        blocks.append(page_blocks(first, page.drawings.rules))
        for other in pieces[1:]:
            blocks[-1] += page_blocks(other, [])
    body = body_size([line for page_of in blocks for block in page_of if isinstance(block, list) for line in block])
    texts = []
    for page, page_of in zip(pages, blocks, strict=True):
        texts.append(page_text(page_of, words, body))
        _add_comments(texts[-1], page)
    return _joined(texts, page_warnings(pages, by_ocr))


def _add_comments(text: PageText, page: PageContent) -> None:
    for note in page.comments:
        text.put("\n\n" if text.chars else "")
        text.put(f"Comment ({note.author}): " if note.author else "Comment: ")
        text.add(Fragment(note.text, [note.rect] * len(note.text), note.rect, 0.0))


def _joined(pages: Sequence[PageText], warnings: Iterable[str]) -> DocumentPages:
    import numpy as np

    starts: list[int] = []
    pieces: list[str] = []
    rects: list[Rect | None] = []
    large: list[tuple[int, str, float]] = []
    for page in pages:
        _clean(page)
        if page.chars and rects:
            pieces.append(_BETWEEN_PAGES)
            rects += [None] * len(_BETWEEN_PAGES)
        start = len(rects)
        starts.append(start)
        large += [(start + at, title, size) for at, title, size in page.headings]
        pieces.append(page.text)
        rects += page.rects
    nowhere = (np.nan,) * 4
    places = np.array([nowhere if rect is None else rect for rect in rects], np.float32).reshape(-1, 4)
    return DocumentPages("".join(pieces), starts, places, _levels(large), list(warnings))


def _clean(page: PageText) -> None:
    """Characters as one would type them, one for one."""
    for at, char in enumerate(page.chars):
        if char in "\xa0\u202f\u2007\x7f" or char < " ":
            page.chars[at] = char if char == "\n" else " "
        elif "\ud800" <= char <= "\udfff":
            page.chars[at] = clean(char)


def _levels(large: Sequence[tuple[int, str, float]]) -> list[Heading]:
    sizes = sorted({round(size) for _, _, size in large}, reverse=True)
    levels = {size: min(level, _MOST_LEVELS) for level, size in enumerate(sizes, start=1)}
    return [Heading(at, title, levels[round(size)]) for at, title, size in large]
