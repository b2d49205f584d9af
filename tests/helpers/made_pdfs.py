"""PDF files made by reportlab, for what is hard to write by hand."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

FONT = "DejaVu"
"""A TrueType font with Greek, Cyrillic, Hebrew and Arabic letters, which matplotlib brings."""
BOLD = "DejaVu-Bold"
_FOLDER = Path(matplotlib.get_data_path(), "fonts", "ttf")

FONT_FILE = _FOLDER / "DejaVuSans.ttf"

for _name, _file in ((FONT, FONT_FILE), (BOLD, _FOLDER / "DejaVuSans-Bold.ttf")):
    pdfmetrics.registerFont(TTFont(_name, str(_file)))

Painter = Callable[[Any], None]


def made_pdf(*pages: Painter, size: tuple[float, float] = (600, 800), **options: Any) -> bytes:
    """A PDF file with a page for each function, which paints on a canvas with a font of 12 points set."""
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=size, **options)
    for paint in pages:
        canvas.setFont(FONT, 12)
        paint(canvas)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def lines(*texts: str, x: float = 60, y: float = 740, pitch: float = 15) -> Painter:
    """Paints lines one below the other."""

    def paint(canvas: Any) -> None:
        for number, text in enumerate(texts):
            canvas.drawString(x, y - number * pitch, text)

    return paint


def both(*painters: Painter) -> Painter:
    """Paints all of it on one page."""

    def paint(canvas: Any) -> None:
        for painter in painters:
            painter(canvas)

    return paint
