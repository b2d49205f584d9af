"""EPUB."""

from __future__ import annotations

from document_files import chapter, epub_parts, zip_bytes

from .case import Case

CHAPTERS = {
    "one.xhtml": chapter("<h1>One</h1><p>Tom finds the key under the mat.</p>"),
    "two.xhtml": chapter("<h1>Two</h1><p>He opens<br/>the door, and <i>waits</i>.</p>"),
}


def book(*without: str, ncx: bool = True) -> bytes:
    parts = epub_parts(CHAPTERS, {name: name for name in CHAPTERS} if ncx else None)
    for name in without:
        del parts[f"OEBPS/{name}"]
    return zip_bytes(parts)


def damaged() -> bytes:
    data = bytearray(book())
    data[data.index(b"OEBPS/one.xhtml") + 40] ^= 0xFF
    return bytes(data)


def with_table() -> bytes:
    cells = (
        "<table><tr><th>Who</th><th>Age</th></tr><tr><td rowspan='2'>Tom</td><td>7</td></tr><tr><td>8</td></tr></table>"
    )
    return zip_bytes(epub_parts({"a.xhtml": chapter(cells)}))


ONE, TWO = "One Tom finds the key under the mat.", "Two He opens the door, and waits."
ROWS = (("Who", "Age"), ("Tom", "7"), ("Tom", "8"))
BOOKS = (
    Case("book.epub", book, f"{ONE} {TWO}"),
    Case("no-contents.epub", lambda: book(ncx=False), f"{ONE} {TWO}"),
    Case("chapter-missing.epub", lambda: book("one.xhtml"), TWO),
    Case("chapter-damaged.epub", damaged, TWO),
    Case("table.epub", with_table, " ".join(" ".join(row) for row in ROWS), rows=ROWS),
)
