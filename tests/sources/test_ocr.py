"""Pages that are pictures: named, and read where OCR is installed."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from made_pdfs import lines, made_pdf
from reportlab.lib.utils import ImageReader

from asl_llamacpp.sources import PageProgress, Reading, read_source
from asl_llamacpp.sources.pdf_pages import page_picture

PARAGRAPH = ("The auditors objected to the missing receipts.", "Der Käufer trägt die Kosten von 1.250 €.")
installed = pytest.mark.skipif(find_spec("rapidocr") is None, reason="the extra ocr is not installed")


def scan(*texts: str) -> Any:
    """Paints the picture of a page with these lines."""
    picture = ImageReader(io.BytesIO(page_picture(made_pdf(lines(*texts, pitch=25)), 1, 1240)))
    return lambda canvas: canvas.drawImage(picture, 0, 0, 600, 800)


def write(tmp_path: Path) -> Path:
    path = tmp_path / "m.pdf"
    path.write_bytes(made_pdf(lines("one"), scan(*PARAGRAPH), lines("three")))
    return path


def test_without_ocr_it_is_named(tmp_path: Path) -> None:
    source = read_source(write(tmp_path), Reading(ocr=False))
    assert source.text == "one\n\nthree"
    (warning,) = source.warnings
    assert warning.startswith("page 2 is a picture, whose text was not read: install OCR (pip install")
    path = tmp_path / "all.pdf"
    path.write_bytes(made_pdf(scan("a"), scan("b")))
    with pytest.raises(ValueError, match=r"all\.pdf has no text layer, only images \(2 pages\): install OCR"):
        read_source(path, Reading(ocr=False))


@installed
@pytest.mark.slow
def test_with_ocr_it_is_read_in_its_place(tmp_path: Path) -> None:
    seen: list[PageProgress] = []
    source = read_source(write(tmp_path), Reading(on_page=seen.append))
    assert source.text.split() == f"one {PARAGRAPH[0]} {PARAGRAPH[1]} three".split()
    assert source.warnings == ("page 2 is a picture, and was read by OCR: there may be mistakes in it",)
    assert seen[3:] == [PageProgress("m.pdf", 0, 1, True)] * 5 + [PageProgress("m.pdf", 1, 1, True)]
    ((page, (x0, y0, x1, y1)),) = source.rects(source.text.index("The"), source.text.index("The") + 3)
    assert page == 2
    assert (x0, y0, x1, y1) == pytest.approx((60, 50, 84, 65), abs=12)  # a line is shared out evenly
