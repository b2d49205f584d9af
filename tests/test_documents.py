"""Documents: what is read, from where, and what is said about what cannot be read."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from pdf_files import pdf_bytes
from pypdf import PdfWriter

from asl_llamacpp import documents
from asl_llamacpp.documents import read_document

TEXT = "Ein Löffel für 3 €\nund Käse"


def write(tmp_path: Path, data: bytes, name: str = "document.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_with_and_without_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    assert read_document(write(tmp_path, TEXT.encode(encoding))) == TEXT


def test_big_endian_marks(tmp_path: Path) -> None:
    assert read_document(write(tmp_path, ("\ufeff" + TEXT).encode("utf-16-be"))) == TEXT
    assert read_document(write(tmp_path, ("\ufeff" + TEXT).encode("utf-32-be"))) == TEXT


def test_line_ends_become_newlines_and_outer_blank_lines_go(tmp_path: Path) -> None:
    assert read_document(write(tmp_path, b"\n\n  # Title\r\n\r\none\rtwo\n\n")) == "  # Title\n\none\ntwo"


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(TEXT.encode())))
    assert read_document("-") == TEXT
    assert documents.document_name("-") == "standard input"


def test_pdf_pages_in_order(tmp_path: Path) -> None:
    text = read_document(write(tmp_path, pdf_bytes(["First page here", "Second page"]), "a.pdf"))
    assert text == "First page here\n\nSecond page"


def test_a_pdf_is_known_by_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_document(write(tmp_path, pdf_bytes(["A page"]), "a.txt")) == "A page"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(pdf_bytes(["Piped"]))))
    assert read_document("-") == "Piped"


def locked_pdf() -> bytes:
    writer, file = PdfWriter(), io.BytesIO()
    writer.add_blank_page(100, 100)
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b" \n\t\n", "empty"),
        ("\ufeff".encode(), "empty"),
        ("Löffel".encode("latin-1"), r"not UTF-8 text \(byte 1: .*iconv"),
        (b"\xff\xfea", "not UTF-16 text"),
        (b"PK\x03\x04\x00\x00", "binary file"),
        (pdf_bytes([""]), r"no text layer, only images \(1 pages\).*ocrmypdf"),
        (b"%PDF-1.4\nbroken", "cannot be read as a PDF"),
        (locked_pdf(), "locked with a password"),
    ],
)
def test_unreadable_content(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_document(write(tmp_path, data))
    assert "document.txt" in str(error.value)


def test_no_such_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such document: .*nowhere"):
        read_document(tmp_path / "nowhere.txt")
    with pytest.raises(IsADirectoryError, match="is a directory: name one"):
        read_document(tmp_path)
