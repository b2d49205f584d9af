"""Pictures of pages, photographed or scanned: read by OCR, where the extra `ocr` is installed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .errors import UnreadableError, parsing
from .formats import Format
from .layout.lines import merged
from .ocr import has_ocr, recognised
from .pdf_document import document_text
from .pdf_text import PageContent
from .pdfium.drawings import Drawings
from .reading import Reading
from .source import Source, make_marks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_AS_IS = Reading()
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"BM")
_WEBP = b"RIFF", b"WEBP"
_LONGEST_SIDE = 3500  # pixels: A4 with 300 to the inch
_MOST_PIXELS = 100_000_000


def is_picture(data: bytes) -> bool:
    """Whether it is a PNG, JPEG, TIFF, GIF, BMP or WEBP file."""
    if data.startswith(b"BM"):
        return data[6:10] == bytes(4)  # a text may begin so, too
    return data.startswith(_MAGIC) or (data[:4], data[8:12]) == _WEBP


def read_picture(data: bytes, name: str, reading: Reading = _AS_IS) -> Source:
    """The text in a picture; the pages of a TIFF file are pages.

    Raises ValueError for a picture that is broken or too large, or in which no text is found, and where there is no
    OCR.
    """
    if not (reading.ocr and has_ocr()):
        raise UnreadableError(
            f'{name} is a picture: install OCR (pip install "asl-llamacpp[ocr]") to have its text read'
        )
    pages: list[PageContent] = []
    with parsing(name, "a picture"):
        for n, pixels in _pages(data, name):
            done, size = len(pages), (float(pixels.shape[1]), float(pixels.shape[0]))

            def alive(done: int = done, n: int = n) -> None:
                reading.report(name, done, n, by_ocr=True)

            lines = recognised(pixels, size, alive)
            pages.append(PageContent([merged(lines)] if lines else [], [], Drawings(), size, 0, 0, by_ocr=True))
            reading.report(name, len(pages), n, by_ocr=True)
    text = document_text(pages)
    if not text.text:
        raise UnreadableError(f"{name} is a picture, and no text was found in it by OCR")
    headings = tuple(text.headings)
    marks = make_marks(text.starts, [(heading.start, heading.title) for heading in headings])
    return Source(name, text.text, marks, tuple(text.warnings), headings, (), text.rects)


def _pages(data: bytes, name: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """How many pages there are, and each: uint8 [height, width, 3], red, green, blue, as one would hold it."""
    import numpy as np
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data)) as picture:
        n = getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1
        for index in range(n):
            picture.seek(index)
            if picture.width * picture.height > _MOST_PIXELS:
                raise UnreadableError(
                    f"{name} has {picture.width} x {picture.height} pixels, too many to be read: make it smaller first"
                )
            page = ImageOps.exif_transpose(picture).convert("RGBA")
            paper = Image.new("RGBA", page.size, "white")
            paper.alpha_composite(page)
            paper.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
            yield n, np.asarray(paper.convert("RGB"), dtype=np.uint8)


FORMAT = Format(lambda data, name: read_picture(data, name), in_bytes=is_picture, read_with=read_picture)
