"""Lines of one column as paragraphs: which line goes on in the next one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .bidi import is_rtl
from .fragment import Fragment

_ITEM = re.compile(
    r"(?:[•◦▪‣·\u2013\u2014*○●■□➢✓-]|\(?(?:\d{1,3}|[a-zA-Z]|[ivxlcIVXLC]{1,5})[.)]|\d+(?:\.\d+)+\.?|§+)\s"
)
_ITEM_END = re.compile(r"[.!?:;]\W*$")
_CLAUSE_END = re.compile(r"[;:]\W*$")
_SAME_SIZE = 0.08  # of the size
_INDENT = 0.9  # times the size
_APART = 1.35  # times the usual distance of lines: a blank line is between them
_SPACE = 0.25  # times the size
_SHORT = 25  # characters: shorter lines are running text only in columns that most lines fill
_FULL = 0.75
_NEARLY_FULL = 0.8  # of the column: no line of its own, if a small letter comes next


@dataclass
class Line:
    """Pieces on one line, and what is before it.

    before  "": the first; "\\n\\n": another paragraph; "\\n": another line of its own; " ": the paragraph goes on
    """

    pieces: list[Fragment]
    before: str = ""

    @property
    def text(self) -> str:
        return "  ".join(piece.text for piece in self.pieces)

    @property
    def size(self) -> float:
        return max(self.pieces, key=lambda piece: len(piece.text)).size

    @property
    def x0(self) -> float:
        return min(piece.x0 for piece in self.pieces)

    @property
    def x1(self) -> float:
        return max(piece.x1 for piece in self.pieces)

    @property
    def middle(self) -> float:
        return max((piece.top + piece.bottom) / 2 for piece in self.pieces)


def find_paragraphs(lines: Sequence[Line]) -> None:
    """Say of each line of a column what is before it."""
    if not lines:
        return
    pitches = [
        after.middle - line.middle
        for line, after in pairwise(lines)
        if _alike(line, after) and after.middle > line.middle
    ]
    pitch = _usual(pitches)
    left, right = min(line.x0 for line in lines), max(line.x1 for line in lines)
    item = _ITEM.match(lines[0].text) is not None
    dense = sum(line.x1 - line.x0 > _FULL * (right - left) for line in lines) > max(len(lines) / 2, 2)
    for line, after in pairwise(lines):
        after.before = _between(line, after, pitch, (left, right), dense, item)
        if after.before != " ":
            item = _ITEM.match(after.text) is not None


def _usual(pitches: Sequence[float]) -> float:
    """The distance of lines within paragraphs: the lower of two that are frequent."""
    return sorted(pitches)[len(pitches) // 3] if pitches else 0.0


def _alike(a: Line, b: Line) -> bool:
    return abs(a.size - b.size) <= _SAME_SIZE * max(a.size, b.size)


def _between(line: Line, after: Line, pitch: float, column: tuple[float, float], dense: bool, item: bool) -> str:
    left, right = column
    distance = after.middle - line.middle
    if not _alike(line, after):
        return "\n\n"
    apart = distance > _APART * pitch if pitch else distance > 2 * line.size
    if apart or distance < 0:
        return "\n\n"
    if len(line.pieces) > 1 or len(after.pieces) > 1 or _ITEM.match(after.text):
        return "\n"
    if _is_broken_word(line.text, after.text):
        return " "
    rtl = is_rtl(line.text)
    indent = line.x1 - after.x1 if rtl else after.x0 - line.x0
    if indent > _INDENT * line.size and not item:
        return "\n"
    if item and indent < -_INDENT * line.size and _ITEM_END.search(line.text):
        return "\n"
    if len(line.text) < _SHORT and not (dense and after.text[:1].islower()):
        return "\n"
    if line.x1 - line.x0 > _NEARLY_FULL * (right - left) and after.text[:1].islower():
        return "\n" if _ITEM_END.search(line.text) and not _CLAUSE_END.search(line.text) else " "
    word = after.text.split(" ")[0]
    width = (after.x1 - after.x0) * len(word) / max(len(after.text), 1) + _SPACE * line.size
    room = line.x0 - left if rtl else right - line.x1
    return " " if width > room else "\n"


def _is_broken_word(line: str, after: str) -> bool:
    return line[-1:] in ("-", "\xad", "\u2010") and line[-2:-1].isalnum() and after[:1].isalnum()


def body_size(lines: Sequence[Line]) -> float:
    """The size of font that most characters have; 0 where there are none."""
    counts: dict[float, int] = {}
    for line in lines:
        size = round(line.size * 2) / 2
        counts[size] = counts.get(size, 0) + len(line.text)
    return max(counts, key=lambda size: counts[size]) if counts else 0.0
