"""From single characters to pieces of lines, whatever order they were painted in."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import numpy as np

from .bidi import has_rtl, mirrored, reading_order
from .fragment import WIDE_GAP, Fragment, Rect, bounds, joined, same_line

_WORD_GAP = 0.18  # times the size
_OVERLAP = 0.5
_JUSTIFIED = 3.0  # times the size: a single space may be as wide, where lines are set to one width
_FORMS = (("\ufb00", "\ufdff"), ("\ufe70", "\ufeff"))  # ligatures, and shapes that Arabic letters take in words
_MARKERS = frozenset("•◦▪‣·\u2013\u2014-*o○●■□➢✓")
_SMALLER, _RAISED = 0.8, 0.1


def fragments(
    chars: Sequence[str], rects: Sequence[Rect], sizes: Sequence[float], boxes: Sequence[Rect]
) -> list[Fragment]:
    """The pieces of lines of characters that are all upright in one frame.

    Args:
        chars: one or more characters each, in the order of painting; white space ends words.
        rects: where they are on the displayed page.
        sizes: of their fonts, points.
        boxes: where they are in the frame that they are upright in.
    """
    found: list[Fragment] = []
    run: list[int] = []
    spaced: set[int] = set()
    spaces = 0
    for i, char in enumerate(chars):
        if char.isspace():
            spaces += 1
            continue
        if run and not _goes_on(boxes[run[-1]], boxes[i], sizes[run[-1]], sizes[i], spaces == 1):
            found.append(_fragment(run, spaced, chars, rects, sizes, boxes))
            run, spaced = [], set()
        if spaces and run:
            spaced.add(i)
        run.append(i)
        spaces = 0
    if run:
        found.append(_fragment(run, spaced, chars, rects, sizes, boxes))
    return found


def merged(pieces: Sequence[Fragment]) -> list[Fragment]:
    """Pieces that stand beside each other on one line, made one, from the left to the right."""
    lines: list[Fragment] = []
    tops, bottoms = np.empty(len(pieces)), np.empty(len(pieces))  # of the lines: a page may have thousands
    for piece in sorted(pieces, key=lambda piece: piece.x0):
        best, n = None, len(lines)
        near = np.minimum(bottoms[:n], piece.bottom) > np.maximum(tops[:n], piece.top)
        for k in np.flatnonzero(near)[::-1].tolist():
            line = lines[k]
            if _may_join(line, piece) and same_line(line, piece) and (best is None or line.x1 > lines[best].x1):
                best = k
        if best is None:
            best = n
            lines.append(piece)
        else:
            lines[best] = _beside(lines[best], piece)
        tops[best], bottoms[best] = lines[best].top, lines[best].bottom
    return [_read(line) if has_rtl(line.text) else line for line in lines]


def _goes_on(before: Rect, box: Rect, size_before: float, size: float, one_space: bool) -> bool:
    """Whether a character is on the line of the one painted before it, and right beside it, on either side."""
    if not _SMALLER <= size / (size_before or 1.0) <= 1 / _SMALLER:
        return False
    widest = (_JUSTIFIED if one_space else WIDE_GAP) * max(size, size_before)
    shared = min(before[3], box[3]) - max(before[1], box[1])
    if shared <= 0.5 * min(before[3] - before[1], box[3] - box[1]):
        return False
    gaps = (box[0] - before[2], before[0] - box[2])
    return any(-_OVERLAP * max(size, size_before) <= gap <= widest for gap in gaps)


def _fragment(
    run: list[int],
    spaced: set[int],
    chars: Sequence[str],
    rects: Sequence[Rect],
    sizes: Sequence[float],
    boxes: Sequence[Rect],
) -> Fragment:
    size = median(sizes[i] for i in run)
    box = bounds(boxes[i] for i in run)
    size = size if 0.4 * (box[3] - box[1]) < size < 2.5 * (box[3] - box[1]) else box[3] - box[1]
    gaps = {i: max(boxes[i][0] - boxes[before][2], boxes[before][0] - boxes[i][2]) for before, i in pairwise(run)}
    usual = _usual([gaps[i] for before, i in pairwise(run) if chars[before].isalnum() and chars[i].isalnum()])
    text: list[str] = []
    places: list[Rect | None] = []
    for i in run:
        is_leader = chars[i] == "." and text[-1:] == ["."]
        if text and not is_leader and (i in spaced or gaps[i] > usual + _WORD_GAP * size):
            text.append(" ")
            places.append(None)
        for char in _plain(chars[i]):
            text.append(char)
            places.append(rects[i])
    return Fragment("".join(text), places, box, size)


def _usual(gaps: list[float]) -> float:
    """The gap between letters of one word: some texts have their letters set apart."""
    return max(sorted(gaps)[len(gaps) // 3], 0.0) if len(gaps) > 3 else 0.0


def _plain(char: str) -> str:
    """A ligature or a shape of a letter as the letters that it stands for."""
    if any(first <= char <= last for first, last in _FORMS):
        return unicodedata.normalize("NFKC", char)[::-1] if has_rtl(char) else unicodedata.normalize("NFKC", char)
    return "" if char in "\xad\ufeff\u200b\u200e\u200f" else char


def _may_join(line: Fragment, piece: Fragment) -> bool:
    size, gap = max(line.size, piece.size), piece.x0 - line.x1
    if gap < -_OVERLAP * size:
        return False
    if gap <= WIDE_GAP * size:
        return True
    if piece.kind == "field":
        return line.text.rstrip().endswith(":") or gap <= 3 * size
    if line.kind == "box":
        return gap <= 3 * size
    return line.text.strip() in _MARKERS and gap <= 4 * size


def _beside(line: Fragment, piece: Fragment) -> Fragment:
    gap, size = piece.x0 - line.x1, max(line.size, piece.size)
    between = " " if gap > _WORD_GAP * size or "text" not in (line.kind, piece.kind) else ""
    if piece.kind != "text" or line.kind != "text":
        between = " "
    raised = piece.size < _SMALLER * line.size and line.bottom - piece.bottom > _RAISED * line.size
    if raised and not between and line.text[-1:].isdigit() and piece.text[:1].isdigit():
        between = "^"  # 10^6 is not 106
    return joined(line, piece, between)


def _read(line: Fragment) -> Fragment:
    """A line with letters from right to left, in the order in which it is read."""
    places = [rect[0] if rect is not None else None for rect in line.rects]
    seen = sorted((i for i, place in enumerate(places) if place is not None), key=lambda i: (places[i] or 0.0, i))
    text: list[str] = []
    rects: list[Rect | None] = []
    for before, i in zip([None, *seen], seen, strict=False):
        if before is not None and _space_between(line, before, i):
            text.append(" ")
            rects.append(None)
        text.append(line.text[i])
        rects.append(line.rects[i])
    order = reading_order(text)
    return Fragment(
        mirrored("".join(text[i] for i in order)), [rects[i] for i in order], line.box, line.size, line.kind
    )


def _space_between(line: Fragment, a: int, b: int) -> bool:
    left, right = line.rects[a], line.rects[b]
    return left is not None and right is not None and right[0] - left[2] > _WORD_GAP * line.size
