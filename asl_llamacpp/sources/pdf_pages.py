"""Pages of PDF files as pictures."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from .pdfium.frame import PageFrame
from .pdfium.opening import LOCK, open_page, open_pdf

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WIDEST = 4000
"""Pixels of a picture from left to right at most."""
_MOST_PIXELS = 40_000_000


def page_picture(pdf: bytes | str | Path, page: int, width: int, password: str | None = None) -> bytes:
    """A page as it is displayed, with its form fields and notes, as a PNG file. Safe to call from several threads.

    Args:
        pdf: the file, or what it holds.
        page: counted from 1.
        width: of the picture, pixels, at most 4000.
        password: what opens the file, if it is locked.

    Raises:
        ValueError: the file has no such page, is no PDF file, is broken or locked, or the picture would be too large.
        OSError: the file cannot be read.
    """
    if not 1 <= width <= WIDEST:
        raise ValueError(f"a page can be 1 to {WIDEST} pixels wide, not {width}")
    data, name = _data(pdf)
    with open_pdf(data, name, password) as document:
        if not 1 <= page <= len(document):
            raise ValueError(f"{name} has pages 1 to {len(document)}, but no page {page}")
        return png(page_pixels(document, page - 1, width, name))


def page_sizes(pdf: bytes | str | Path, password: str | None = None) -> list[tuple[float, float]]:
    """Width and height of each page as it is displayed, points (1/72 inch). Raises as `page_picture`."""
    data, name = _data(pdf)
    sizes = []
    with open_pdf(data, name, password) as document:
        for index in range(len(document)):
            with open_page(document, index) as page:
                sizes.append(PageFrame.of(page).size)
    return sizes


def page_pixels(document: object, index: int, width: int, name: str) -> NDArray[np.uint8]:
    """A page, from 0, of an open document: uint8 [height, width, 3], red, green, blue."""
    import numpy as np
    import pypdfium2

    assert isinstance(document, pypdfium2.PdfDocument)
    with open_page(document, index) as page:
        across, down = page.get_size()
        scale = width / max(across, 1e-3)
        if not 1 <= width * down * scale <= _MOST_PIXELS:
            raise ValueError(f"page {index + 1} of {name} is {across:.0f} x {down:.0f} points: too long for a picture")
        with LOCK:
            bitmap = page.render(scale=scale, may_draw_forms=True, rev_byteorder=True)
            pixels = np.array(bitmap.to_numpy()[:, :, :3], dtype=np.uint8)
            bitmap.close()
    return pixels


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of uint8 [height, width, 3]."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def _data(pdf: bytes | str | Path) -> tuple[bytes, str]:
    return (pdf, "the PDF file") if isinstance(pdf, bytes) else (Path(pdf).read_bytes(), Path(pdf).name)
