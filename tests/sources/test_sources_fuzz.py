"""Damaged files: they are read, or ValueError says which file it is. No error of a parser gets out."""

from __future__ import annotations

import io
import random
import re
from pathlib import Path

import pytest
from document_files import chapter, docx_parts, epub_parts, paragraph, zip_bytes
from pdf_files import pdf_bytes
from pypdf import PdfWriter

from asl_llamacpp.sources import read_source

N_FLIPPED = 300


def pdf() -> bytes:
    writer, file = PdfWriter(clone_from=io.BytesIO(pdf_bytes(["First page", "Second page"]))), io.BytesIO()
    writer.add_outline_item(title="Second", page_number=1, parent=writer.add_outline_item(title="First", page_number=0))
    writer.compress_identical_objects()
    for page in writer.pages:
        page.compress_content_streams()
    writer.write(file)
    return file.getvalue()


DOCX = docx_parts(paragraph("Title", "heading 1") + paragraph("text " * 20))
EPUB = epub_parts({"a.xhtml": chapter("<h1>One</h1><p>text</p>"), "b.xhtml": chapter("<p>x</p>")}, ncx={"b.xhtml": "B"})
FILES = {
    "a.pdf": pdf(),
    "text.pdf": pdf_bytes(["First page", "Second page"]),
    "a.docx": zip_bytes(DOCX),
    "a.epub": zip_bytes(EPUB),
}


def reads_or_refuses(path: Path, data: bytes) -> bool:
    """Whether it was read."""
    path.write_bytes(data)
    try:
        source = read_source(path)
    except ValueError as error:
        assert path.name in str(error)
        assert type(error).__module__.startswith("asl_llamacpp.")
        return False
    source.text.encode()
    starts = [mark.start for mark in source.marks]
    assert starts == sorted(starts) and all(0 <= start <= len(source.text) for start in starts)
    return True


@pytest.mark.parametrize("name", FILES)
def test_cut_files(tmp_path: Path, name: str) -> None:
    data = FILES[name]
    assert reads_or_refuses(tmp_path / name, data)
    for length in range(1, len(data), max(1, len(data) // 150)):
        reads_or_refuses(tmp_path / name, data[:length])


@pytest.mark.parametrize("name", FILES)
def test_flipped_bits(tmp_path: Path, name: str) -> None:
    chance = random.Random(name)
    n_read = 0
    for _ in range(N_FLIPPED):
        data = bytearray(FILES[name])
        for _ in range(chance.choice([1, 2, 8, 32])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        n_read += reads_or_refuses(tmp_path / name, bytes(data))
    assert 0 < n_read < N_FLIPPED


@pytest.mark.parametrize(("name", "parts"), [("a.docx", DOCX), ("a.epub", EPUB)])
def test_damage_inside_the_archive(tmp_path: Path, name: str, parts: dict[str, str | bytes]) -> None:
    """Checksums catch most flips from outside, so here the parts are damaged before they are packed."""
    chance = random.Random(name)
    n_read = 0
    for _ in range(N_FLIPPED):
        damaged = dict(parts)
        for _ in range(chance.choice([1, 2, 4])):
            part = chance.choice(list(damaged))
            text = damaged.pop(part)
            text = text.encode() if isinstance(text, str) else text
            at = chance.randrange(len(text) + 1)
            pieces = [piece.encode() for piece in re.findall(r'"[^"]*"|<[^>]*>|\w+', text.decode("utf-8", "replace"))]
            piece = chance.choice(pieces or [b""])
            damage = chance.randrange(5)
            if damage == 0:
                damaged[part] = text[:at]
            elif damage == 1:
                damaged[part] = text[:at] + bytes([chance.randrange(256)]) + text[at + 1 :]
            elif damage == 2:
                damaged[part] = text.replace(piece, b"", 1)
            elif damage == 3:
                damaged[part] = text.replace(piece, piece * 2, 1)
        n_read += reads_or_refuses(tmp_path / name, zip_bytes(damaged)) if damaged else 0
    assert 0 < n_read < N_FLIPPED
