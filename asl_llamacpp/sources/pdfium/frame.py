"""Where things of a page are when it is displayed: cropped, rotated, with its origin at the top left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pypdfium2 import PdfPage

Rect: TypeAlias = tuple[float, float, float, float]
"""x0, y0, x1, y1 in points; y grows downwards."""


@dataclass(frozen=True)
class PageFrame:
    """The crop box of a page in its own coordinates, and how often it is turned clockwise by 90 degrees."""

    left: float
    bottom: float
    right: float
    top: float
    turns: int

    @classmethod
    def of(cls, page: PdfPage) -> PageFrame:
        boxes = zip(page.get_mediabox(), page.get_cropbox(), strict=True)
        (l0, l1), (b0, b1), (r0, r1), (t0, t1) = boxes
        left, bottom, right, top = max(l0, l1), max(b0, b1), min(r0, r1), min(t0, t1)
        if left >= right or bottom >= top:  # they do not meet: readers take the first
            left, bottom, right, top = l0, b0, r0, t0
        return cls(left, bottom, right, top, page.get_rotation() // 90 % 4)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height as displayed, points."""
        width, height = self.right - self.left, self.top - self.bottom
        return (height, width) if self.turns % 2 else (width, height)

    def displayed(self, left: float, bottom: float, right: float, top: float) -> Rect:
        """A rectangle of the page's own coordinates, whose y grows upwards."""
        if self.turns == 0:
            return left - self.left, self.top - top, right - self.left, self.top - bottom
        if self.turns == 1:
            return bottom - self.bottom, left - self.left, top - self.bottom, right - self.left
        if self.turns == 2:
            return self.right - right, bottom - self.bottom, self.right - left, top - self.bottom
        return self.top - top, self.right - right, self.top - bottom, self.right - left
