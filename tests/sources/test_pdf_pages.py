"""Pages of a PDF file as pictures, and where on them each character of the text is."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from made_pdfs import FONT, lines, made_pdf
from pdf_files import pdf_bytes
from pypdf import PdfReader, PdfWriter
from pypdf.generic import RectangleObject

from asl_llamacpp.documents.text import DocumentText
from asl_llamacpp.sources import Source, read_source
from asl_llamacpp.sources.pdf_pages import page_picture, page_sizes


def read(tmp_path: Path, data: bytes) -> Source:
    path = tmp_path / "a.pdf"
    path.write_bytes(data)
    return read_source(path)


def pixels(data: bytes, page: int, width: int) -> Any:
    """Grey levels [height, width] of a page, 0 is black, as matplotlib reads the PNG file."""
    return matplotlib.image.imread(io.BytesIO(page_picture(data, page, width)), format="png")[..., :3].mean(axis=2)


def turned(data: bytes, angle: int, crop: tuple[float, float, float, float] | None = None) -> bytes:
    writer, file = PdfWriter(clone_from=PdfReader(io.BytesIO(data))), io.BytesIO()
    for page in writer.pages:
        page.rotate(angle)
        if crop is not None:
            page.cropbox = RectangleObject(crop)
    writer.write(file)
    return file.getvalue()


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
@pytest.mark.parametrize("crop", [None, (40, 80, 500, 760)])
def test_a_word_is_painted_where_its_rectangle_is(
    tmp_path: Path, angle: int, crop: tuple[float, float, float, float] | None
) -> None:
    data = turned(made_pdf(lines("alpha", "needle", "omega", pitch=100)), angle, crop)
    source = read(tmp_path, data)
    (width, _), *_ = page_sizes(data)
    start = source.text.index("needle")
    ((page, rect),) = source.rects(start, start + len("needle"))
    assert page == 1
    picture = pixels(data, 1, round(2 * width))
    x0, y0, x1, y1 = (round(2 * side) for side in rect)
    assert picture[y0:y1, x0:x1].min() < 0.3
    others = picture.copy()
    others[y0 - 2 : y1 + 2, x0 - 2 : x1 + 2] = 1
    for word in ("alpha", "omega"):
        at = source.text.index(word)
        ((_, rect),) = source.rects(at, at + 5)
        x0, y0, x1, y1 = (round(2 * side) for side in rect)
        others[y0 - 2 : y1 + 2, x0 - 2 : x1 + 2] = 1
    assert others.min() > 0.9  # all that is painted is in the rectangles of the three words


def test_offsets_behind_joined_lines_hyphens_and_ligatures(tmp_path: Path) -> None:
    data = made_pdf(
        lines("The of\ufb01ce was moved to the north of the old town hall in June, and its sur-", "vey is needle work.")
    )
    source = read(tmp_path, data)
    assert source.text == (
        "The office was moved to the north of the old town hall in June, and its survey is needle work."
    )
    assert source.char_rects is not None
    assert source.char_rects.shape == (len(source.text), 4)
    assert source.char_rects.dtype == np.float32
    for word, x0, n_lines in (("office", None, 1), ("survey", None, 2), ("needle", None, 1), ("The", 60, 1)):
        at = source.text.index(word)
        found = source.rects(at, at + len(word))
        assert len(found) == n_lines, word
        if x0 is not None:
            assert found[0][1][0] == pytest.approx(x0, abs=0.5)
    painted = ~np.isnan(source.char_rects[:, 0])
    assert [source.text[at] for at in np.flatnonzero(~painted)] == [" "] * source.text.count(" ")
    # against the widths that reportlab sets text with
    from reportlab.pdfbase.pdfmetrics import stringWidth

    ((_, rect),) = source.rects(source.text.index("needle"), source.text.index("needle") + 6)
    assert rect[0] == pytest.approx(60 + stringWidth("vey is ", FONT, 12), abs=0.3)
    assert rect[2] == pytest.approx(60 + stringWidth("vey is needle", FONT, 12), abs=0.3)
    fi = source.char_rects[source.text.index("fi") : source.text.index("fi") + 2]
    assert fi[0, 2] == pytest.approx(fi[1, 0]) and fi[0, 0] < fi[1, 0]  # each letter has its share


def test_passages_over_pages_and_the_document_s_own_offsets(tmp_path: Path) -> None:
    source = read(tmp_path, pdf_bytes(["", "First page", "Second"]))
    assert source.rects(0, len(source.text)) == [
        (2, pytest.approx((72, 61, 126, 75), abs=3)),
        (3, pytest.approx((72, 61, 116, 75), abs=4)),
    ]
    assert source.pages() == [(0, 0), (0, 12), (12, 18)]
    content = DocumentText.of([source])
    assert content.text == source.text and content.parts[0].start_in_source == 0
    assert Source("a", "text").rects(0, 4) == [] == Source("a", "text").pages()
    assert source.rects(-5, 0) == [] == source.rects(100, 200)


def test_sizes_as_displayed() -> None:
    data = made_pdf(lines("a"), lines("b"), size=(300, 500))
    assert page_sizes(data) == [(300, 500)] * 2
    assert page_sizes(turned(data, 90)) == [(500, 300)] * 2
    assert page_sizes(turned(data, 90, (0, 0, 100, 200))) == [(200, 100)] * 2


def test_pictures(tmp_path: Path) -> None:
    data = made_pdf(lines("a"), size=(300, 500))
    picture = page_picture(data, 1, 600)
    assert picture.startswith(b"\x89PNG")
    assert pixels(data, 1, 600).shape == (1000, 600)
    path = tmp_path / "a.pdf"
    path.write_bytes(data)
    assert page_picture(path, 1, 600) == page_picture(str(path), 1, 600) == picture


def test_form_fields_are_painted() -> None:
    data = made_pdf(
        lambda canvas: canvas.acroForm.textfield(name="s", value="Zimmermann", x=100, y=500, width=200, height=20)
    )
    assert pixels(data, 1, 600)[285:295, 105:180].min() < 0.5


def test_what_has_no_picture(tmp_path: Path) -> None:
    data = made_pdf(lines("a"))
    for page in (0, 2, -1):
        with pytest.raises(ValueError, match=f"pages 1 to 1, but no page {page}"):
            page_picture(data, page, 100)
    for width in (0, 4001):
        with pytest.raises(ValueError, match=f"1 to 4000 pixels wide, not {width}"):
            page_picture(data, 1, width)
    with pytest.raises(ValueError, match="cannot be read as a PDF"):
        page_picture(b"no PDF", 1, 100)
    with pytest.raises(FileNotFoundError):
        page_picture(tmp_path / "none.pdf", 1, 100)
    with pytest.raises(ValueError, match="too long for a picture"):
        page_picture(made_pdf(lines("a"), size=(10, 14_000)), 1, 4000)


def test_several_threads_at_once() -> None:
    data = made_pdf(*[lines(str(number)) for number in range(4)], size=(100, 100))
    expected = [page_picture(data, page, 100) for page in range(1, 5)]
    found: list[list[bytes]] = []

    def paint() -> None:
        found.append([page_picture(data, page, 100) for page in range(1, 5)])

    threads = [threading.Thread(target=paint) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
