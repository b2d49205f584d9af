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
from asl_llamacpp.sources.content import read_bytes
from asl_llamacpp.sources.layout.fragment import Fragment
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


def picture(kind: str, *texts: str) -> bytes:
    """Pages with a line each, as a picture; several only as TIFF."""
    from PIL import Image

    pages = [Image.open(io.BytesIO(page_picture(made_pdf(lines(text)), 1, 620))) for text in texts]
    file, more = io.BytesIO(), {"save_all": True, "append_images": pages[1:]} if len(pages) > 1 else {}
    pages[0].save(file, kind, **more)
    return file.getvalue()


KINDS = ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_alone_says_what_it_needs(kind: str) -> None:
    data = picture(kind, "one")
    with pytest.raises(ValueError, match=r'scan is a picture: install OCR \(pip install "asl-llamacpp\[ocr\]"\)'):
        read_bytes(data, "scan", Reading(ocr=False))


def told(monkeypatch: pytest.MonkeyPatch, read: Any) -> None:
    monkeypatch.setattr("asl_llamacpp.sources.picture.has_ocr", lambda: True)
    monkeypatch.setattr("asl_llamacpp.sources.picture.recognised", read)


def test_pages_of_a_picture_are_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, ...]] = []

    def read(pixels: Any, size: tuple[float, float], on_line: Any) -> list[Fragment]:
        sizes.append(pixels.shape)
        assert size == (pixels.shape[1], pixels.shape[0]) and pixels.min() < 100 < pixels.max()
        box = (60.0, 100.0, 160.0, 112.0)
        return [Fragment(f"page {len(sizes)}", [box] * 6, box, 9.0)]

    told(monkeypatch, read)
    source = read_bytes(picture("TIFF", "one", "two"), "scan.tif")
    assert source.text == "page 1\n\npage 2" and source.n_pages == 2 and len(sizes) == 2
    assert source.warnings == ("pages 1-2 are pictures, and were read by OCR: there may be mistakes in it",)
    assert [page for page, _ in source.rects(0, len(source.text))] == [1, 2]


def test_a_picture_without_text_and_a_broken_one(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, lambda *_: [])
    with pytest.raises(ValueError, match="no text was found in it by OCR"):
        read_bytes(picture("PNG", "one"), "a.png")
    with pytest.raises(ValueError, match=r"a\.png cannot be read as a picture file"):
        read_bytes(picture("PNG", "one")[:200], "a.png")


def test_a_text_that_begins_like_a_picture_is_one() -> None:
    assert read_bytes(b"BMW and others", "a").text == "BMW and others"
