"""A piece of a line: characters that stand beside each other, each with its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

Rect: TypeAlias = tuple[float, float, float, float]
"""x0, y0, x1, y1 in points; the origin is at the top left."""

WIDE_GAP = 0.9
"""Times the font's size: a gap in a line that is wider separates columns, cells or a head from its page number."""


@dataclass
class Fragment:
    """Text of one line without wide gaps in it.

    text   the characters, in the order that they are read in
    rects  for each character its rectangle on the displayed page; None for a space
    box    of all of it, in the frame that the text is upright in
    size   of the font, points
    kind   "text", "field" (a value that was filled in) or "box" (one that was ticked or not)
    """

    text: str
    rects: list[Rect | None]
    box: Rect
    size: float
    kind: str = "text"

    @property
    def x0(self) -> float:
        return self.box[0]

    @property
    def x1(self) -> float:
        return self.box[2]

    @property
    def top(self) -> float:
        return self.box[1]

    @property
    def bottom(self) -> float:
        return self.box[3]

    @property
    def height(self) -> float:
        return max(self.box[3] - self.box[1], 0.1)


def same_line(a: Fragment, b: Fragment) -> bool:
    """Whether two pieces stand on one line: each other's half, or all but, of the smaller one."""
    shared = min(a.bottom, b.bottom) - max(a.top, b.top)
    return shared > 0.5 * min(a.height, b.height)


def bounds(boxes: Iterable[Rect]) -> Rect:
    """The rectangle around all of them."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def joined(left: Fragment, right: Fragment, between: str = " ") -> Fragment:
    """One piece of two, the first of which is read first."""
    between = "" if left.text.endswith(" ") or right.text.startswith(" ") else between
    larger = left if len(left.text) >= len(right.text) else right
    return Fragment(
        left.text + between + right.text,
        [*left.rects, *[None] * len(between), *right.rects],
        bounds([left.box, right.box]),
        larger.size,
        left.kind if left.kind == right.kind else "text",
    )
