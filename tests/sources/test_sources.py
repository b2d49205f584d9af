"""Documents: what is read, from where, and what is said about what cannot be read."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from document_files import zip_bytes
from pdf_files import pdf_bytes
from pypdf import PdfWriter

from asl_llamacpp.sources import Mark, PageProgress, Reading, document_name, read_source, text_source
from asl_llamacpp.sources.content import read_bytes

TEXT = "Ein Löffel für 3 €\nund Käse"


def read_document(source: str | Path) -> str:
    return read_source(source).text.strip("\n")


def write(tmp_path: Path, data: bytes, name: str = "document.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_with_and_without_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    assert read_document(write(tmp_path, TEXT.encode(encoding))) == TEXT


@pytest.mark.parametrize(
    "text",
    [
        "Der Käufer zahlt 5 € für die Größe „L“ – sofort.",
        "L\u2019été, le garçon a reçu un cœur…",
        "¿Cuánto cuesta el año? Veintitrés niños.",
        "O preço não é só teu, coração.",
        "Så är det på ön, sade hon.",
        "It\u2019s a \u201cplain\u201d text \u2014 with 12 m² of quotes.",
    ],
)
def test_windows_1252_is_read_where_it_is_plain(tmp_path: Path, text: str) -> None:
    source = read_source(write(tmp_path, text.encode("cp1252")))
    assert source.text == text
    assert source.warnings == ("it is not in UTF-8, and was read as windows-1252 (Western European)",)


def test_big_endian_marks(tmp_path: Path) -> None:
    assert read_document(write(tmp_path, ("\ufeff" + TEXT).encode("utf-16-be"))) == TEXT
    assert read_document(write(tmp_path, ("\ufeff" + TEXT).encode("utf-32-be"))) == TEXT


def test_line_ends_become_newlines_and_outer_blank_lines_go(tmp_path: Path) -> None:
    assert read_document(write(tmp_path, b"\n\n  # Title\r\n\r\none\rtwo\n\n")) == "  # Title\n\none\ntwo"


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(TEXT.encode())))
    assert read_document("-") == TEXT
    assert document_name("-") == "standard input"


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
        ("Привет, мир".encode("cp1251"), r"not UTF-8 text \(byte 0: .*iconv"),
        ("Zażółć gęślą jaźń, chodźcie".encode("cp1250"), "not UTF-8 text"),
        ("Žluťoučký kůň příliš pěl ódy".encode("cp1250"), "not UTF-8 text"),
        ("Řeka ještě nevyschla, běží dál".encode("cp1250"), "not UTF-8 text"),
        ("İşçi çağrısı yapıldı".encode("cp1254"), "not UTF-8 text"),
        ("Η τιμή είναι".encode("cp1253"), "not UTF-8 text"),
        ("日本語の文".encode("shift_jis"), "not UTF-8 text"),
        ("中文的句子".encode("gb18030"), "not UTF-8 text"),
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


def locked(algorithm: str, user: str) -> bytes:
    writer, file = PdfWriter(clone_from=io.BytesIO(pdf_bytes(["A page"]))), io.BytesIO()
    writer.encrypt(user, "owner", algorithm=algorithm)
    writer.write(file)
    return file.getvalue()


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256-R5", "AES-256"])
def test_passwords(tmp_path: Path, algorithm: str) -> None:
    """A file that needs a password only to be changed is opened; others with theirs."""
    assert read_document(write(tmp_path, locked(algorithm, ""))) == "A page"
    path = write(tmp_path, locked(algorithm, "sésame"))
    with pytest.raises(ValueError, match=r"document\.txt is locked with a password: give it with --password, or passw"):
        read_source(path)
    with pytest.raises(ValueError, match=r"document\.txt is locked with another password than the one given"):
        read_source(path, Reading(password="x"))
    for password in ("sésame", "owner"):
        assert read_source(path, Reading(password=password)).text == "A page"
    assert read_source(write(tmp_path, pdf_bytes(["Free"])), Reading(password="x")).text == "Free"


def test_progress(tmp_path: Path) -> None:
    seen: list[PageProgress] = []
    read_source(write(tmp_path, pdf_bytes(["a", "b"]), "a.pdf"), Reading(on_page=seen.append))
    assert seen == [PageProgress("a.pdf", 1, 2), PageProgress("a.pdf", 2, 2)]

    def stop(_: PageProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_source(write(tmp_path, pdf_bytes(["a", "b"]), "a.pdf"), Reading(on_page=stop))


# ---- pages and sections ---------------------------------------------------------------------------------------------


def test_places_between_marks() -> None:
    source = text_source("before\n\n# One\n\ntext\n\n# Two\n")
    assert (source.name, source.n_pages) == ("text", None)
    assert source.marks == (Mark(0, None, None), Mark(8, None, "One"), Mark(21, None, "Two"))
    assert [source.place(at)[1] for at in (0, 7, 8, 20, 21, 10_000)] == [None, None, "One", "One", "Two", "Two"]
    assert text_source("no marks").place(3) == (None, None)
    with pytest.raises(ValueError, match="text is empty"):
        text_source(" \n")


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_source(write(tmp_path, b"text", "name.txt")).name == "name.txt"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"# A\n\ntext")))
    source = read_source("-")
    assert (source.name, source.place(3)) == ("standard input", (None, "A"))


def outlined_pdf(pages: list[str], outline: list[tuple[str, int]]) -> bytes:
    """The entries of the outline lie one below the other: each is a child of the one before."""
    writer, file = PdfWriter(clone_from=io.BytesIO(pdf_bytes(pages))), io.BytesIO()
    parent = None
    for title, page in outline:
        parent = writer.add_outline_item(title=title, page_number=page, parent=parent)
    writer.write(file)
    return file.getvalue()


def test_each_page_of_a_pdf_has_a_mark(tmp_path: Path) -> None:
    source = read_source(write(tmp_path, pdf_bytes(["", "First page", "", "Second", ""]), "a.pdf"))
    assert source.text == "First page\n\nSecond"
    assert [(mark.start, mark.page) for mark in source.marks] == [(0, 1), (0, 2), (10, 3), (12, 4), (18, 5)]
    assert source.n_pages == 5
    assert [source.place(source.text.index(word)) for word in ("First", "page", "Second")] == [(2, None)] * 2 + [
        (4, None)
    ]


def test_the_outline_of_a_pdf_gives_the_sections(tmp_path: Path) -> None:
    line_end = ") Tj 0 -20 Td ("
    pages = [
        "Preface",
        f"words{line_end}2.1 The  Plan{line_end}words on the plan",
        f"intro{line_end}1. Results{line_end}1. Results",
    ]
    outline = [
        ("the plan", 1),
        ("words on the plan", 2),
        ("Nor this", 2),
        ("Results", 2),
        ("Nor that", 2),
        ("1. Results", 2),
    ]
    source = read_source(write(tmp_path, outlined_pdf(pages, outline)))
    text = source.text
    assert text == "Preface\n\nwords\n2.1 The Plan\nwords on the plan\n\nintro\n1. Results\n1. Results"
    assert source.place(0) == (1, None)
    assert source.place(text.index("words")) == (2, None)
    assert source.place(text.index("2.1") - 1) == (2, None)
    assert source.place(text.index("2.1")) == (2, "the plan")
    assert source.place(text.index("words on the plan")) == (2, "the plan")
    assert source.place(text.index("intro")) == (3, "words on the plan")  # which is on the page before only
    assert source.place(text.index("1. Results")) == (3, "Results")
    assert source.place(text.rindex("1. Results")) == (3, "1. Results")
    assert source.n_pages == 3


def test_a_broken_outline_costs_only_the_sections(tmp_path: Path) -> None:
    data = outlined_pdf(["A page"], [("Title", 0)]).replace(b"/Outlines", b"/Outline_")
    assert read_source(write(tmp_path, data)).marks == (Mark(0, 1, None),)
    data = outlined_pdf(["A page"], [("Title", 0)]).replace(b"/Title (Title)", b"/Title [1 2 3]")
    assert read_source(write(tmp_path, data)).place(0)[0] == 1


def test_text_about_pdf_files_is_no_pdf_file(tmp_path: Path) -> None:
    assert read_document(write(tmp_path, b"PDF files begin with %PDF-1.4.")) == "PDF files begin with %PDF-1.4."
    assert read_document(write(tmp_path, b"junk\n" + pdf_bytes(["A page"]))) == "A page"


# ---- other kinds ----------------------------------------------------------------------------------------------------


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def stream(name: str) -> bytes:
    return bytes(600) + name.encode("utf-16-le") + bytes(2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (OLE + bytes(600), r"an old Office file, which is not read: save it as DOCX, XLSX, PPTX or PDF first"),
        (OLE + stream("WordDocument"), r"an old Word file \(\.doc\).*save it as DOCX first, .* docx"),
        (OLE + stream("Workbook"), r"an old Excel file \(\.xls\).*save it as XLSX first"),
        (OLE + stream("PowerPoint Document"), r"an old PowerPoint file \(\.ppt\).*save it as PPTX first"),
        (OLE + stream("EncryptedPackage"), "locked with a password"),
        (
            zip_bytes({"mimetype": "application/vnd.oasis.opendocument.formula", "content.xml": ""}),
            "an OpenDocument file of a kind that is not read",
        ),
        (zip_bytes({"Index/Document.iwa": b"", "preview.jpg": b""}), "Pages, Numbers or Keynote.*export it as"),
        (zip_bytes({"xl/workbook.bin": b""}), r"a binary Excel file \(\.xlsb\).*save it as XLSX"),
        (b"%!PS-Adobe-3.0\n/Times-Roman findfont", "a PostScript file.*ps2pdf"),
        (bytes(60) + b"BOOKMOBI" + bytes(20), "a Kindle book.*EPUB"),
        (b"\x1f\x8b\x08" + bytes(20), "a compressed archive.*unpack it first"),
        (b"GGUF\3\0\0\0", "a model in GGUF.*--model"),
        (b"\0\0\0\x18ftypheic", "a picture, which is not read: save it as PNG"),
        (b"\0\0\0\x18ftypmp42", "a recording"),
        (
            b"<?xml version='1.0'?><office:document xmlns:office='urn:oasis:names:tc:opendocument:xmlns:office:1.0'/>",
            "a flat",
        ),
        (zip_bytes({"a.txt": "text"}), "is a ZIP archive, which is not read: unpack it first"),
        (zip_bytes({}), "is a ZIP archive, which is not read: unpack it first"),
        (b"\x7fELF\2\1\1\0", "binary file"),
    ],
)
def test_kinds_that_cannot_be_read(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_source(write(tmp_path, data))
    assert "document.txt" in str(error.value)


@pytest.mark.parametrize(
    ("name", "what"), [("a.pages", "a Pages doc"), ("a.numbers", "a Numbers"), ("a.key", "a Keynote")]
)
def test_files_of_apple_are_called_by_their_name(name: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        read_bytes(zip_bytes({"Index/Document.iwa": b""}), name)


def test_nothing_heavy_is_imported_before_a_document_is_read() -> None:
    code = "import sys, asl_llamacpp.sources; print(*{'selectolax', 'pypdfium2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b""
