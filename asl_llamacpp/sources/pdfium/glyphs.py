"""The characters that a page paints, in the order of its content, each with its place."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .frame import PageFrame, Rect

if TYPE_CHECKING:
    from pypdfium2 import PdfPage

HYPHEN = "\x02"
"""What pdfium calls a hyphen at the end of a line."""


@dataclass
class Glyphs:
    """Characters by index; `turns` is how often their writing is turned clockwise by 90 degrees on the page.

    n_unknown  how many of them have no known meaning: private use, control characters, or no mapping to Unicode
    """

    chars: list[str] = field(default_factory=list)
    rects: list[Rect] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    n_unknown: int = 0

    def add(self, char: str, rect: Rect, size: float, turns: int = 0) -> None:
        self.chars.append(char)
        self.rects.append(rect)
        self.sizes.append(size)
        self.turns.append(turns)


def page_glyphs(page: PdfPage, frame: PageFrame) -> Glyphs:
    """What the content of a page paints as text, visible or not: the text layer of a scan is invisible."""
    from pypdfium2 import raw

    glyphs = Glyphs()
    text = page.get_textpage()
    box = raw.FS_RECTF()
    try:
        for i in range(raw.FPDFText_CountChars(text)):
            code = raw.FPDFText_GetUnicode(text, i)
            if code in (10, 13) or raw.FPDFText_IsGenerated(text, i):
                continue
            char = "-" if code == 2 and raw.FPDFText_IsHyphen(text, i) else _char(code)
            if not raw.FPDFText_GetLooseCharBox(text, i, box):
                continue
            if raw.FPDFText_HasUnicodeMapError(text, i) or is_unknown(char):
                glyphs.n_unknown += 1
            rect = frame.displayed(box.left, box.bottom, box.right, box.top)
            angle = raw.FPDFText_GetCharAngle(text, i)
            turns = (round(max(angle, 0.0) / (math.pi / 2)) + frame.turns) % 4
            glyphs.add(char, rect, raw.FPDFText_GetFontSize(text, i), turns)
    finally:
        text.close()
    _share_rects(glyphs)
    return glyphs


def is_unknown(char: str) -> bool:
    """Whether a character says nothing: a control character, of private use, or U+FFFD."""
    code = ord(char)
    return (code < 32 and char not in "\t\n\r") or 127 <= code < 160 or 0xE000 <= code < 0xF900 or code >= 0xFFFD


def _char(code: int) -> str:
    return "\N{REPLACEMENT CHARACTER}" if 0xD800 <= code < 0xE000 or code > 0x10FFFF or code == 0 else chr(code)


def _share_rects(glyphs: Glyphs) -> None:
    """Letters of a ligature have one rectangle together: give each its share."""
    start = 0
    rects = glyphs.rects
    for end in range(1, len(rects) + 1):
        if end < len(rects) and rects[end] == rects[start]:
            continue
        n = end - start
        if 1 < n <= 4:
            x0, y0, x1, y1 = rects[start]
            width = (x1 - x0) / n
            for k in range(n):
                rects[start + k] = (x0 + k * width, y0, x0 + (k + 1) * width, y1)
        start = end
