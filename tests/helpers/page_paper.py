"""Pages of a pretended PDF: words in lines of letters of one width, and a picture with a bar for each word."""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any

import numpy as np

WIDTH, HEIGHT = 612, 792
MARGIN, LETTER, LINE = 72, 6.5, 15
TALL = 11
LETTERS = int((WIDTH - 2 * MARGIN) / LETTER)


def layer(text: str, number: int) -> dict[str, Any]:
    """The text layer of a page, from 1, as the server gives it."""
    words, x, y = [], 0, 0
    start = sum(len(page) + 1 for page in text.split("\f")[: number - 1])
    page = text.split("\f")[number - 1]
    for word in re.finditer(r"\S+|\n", page):
        if word[0] == "\n":
            x, y = 0, y + 1
            continue
        if x + len(word[0]) > LETTERS:
            x, y = 0, y + 1
        left, top = MARGIN + x * LETTER, MARGIN + y * LINE
        rect = [left, top, left + len(word[0]) * LETTER, top + TALL]
        words.append({"text": word[0], "start": start + word.start(), "end": start + word.end(), "rect": rect})
        x += len(word[0]) + 1
    return {"width": WIDTH, "height": HEIGHT, "words": words}


def rects(text: str, start: int, end: int) -> list[dict[str, Any]]:
    """One rectangle a line of text[start:end]."""
    found: dict[tuple[int, float], list[float]] = {}
    for number in range(1, text.count("\f") + 2):
        for word in layer(text, number)["words"]:
            if word["start"] < end and word["end"] > start:
                x0, y0, x1, y1 = word["rect"]
                box = found.setdefault((number, y0), [x0, y0, x1, y1])
                box[0], box[2] = min(box[0], x0), max(box[2], x1)
    return [{"page": number, "rect": box} for (number, _), box in found.items()]


def picture(text: str, number: int, width: int) -> bytes:
    """The page as a PNG of this many pixels."""
    scale = width / WIDTH
    pixels = np.full((round(HEIGHT * scale), width), 255, np.uint8)
    for word in layer(text, number)["words"]:
        x0, y0, x1, y1 = (round(side * scale) for side in word["rect"])
        pixels[y0 + 2 : y1 - 2, x0:x1] = 120
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, len(pixels), 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body
