"""HTML, DOCX and EPUB: their text in reading order, headings as sections, and nothing that harms."""

from __future__ import annotations

import io
from pathlib import Path
from zipfile import ZipFile

import pytest
from document_files import WORD, chapter, docx_bytes, docx_parts, epub_bytes, epub_parts, paragraph, zip_bytes

from asl_llamacpp.sources import Source, archive, markup, read_source

PAGE = "<!DOCTYPE html><html><head><title>T</title></head><body>{}</body></html>"


def read(tmp_path: Path, data: bytes | str, name: str = "document") -> Source:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_source(path)


def sections(source: Source) -> list[tuple[str, str | None]]:
    """The heading of each mark, with the line that it begins at."""
    lines = [source.text[mark.start :].split("\n")[0] for mark in source.marks]
    return [(line, mark.section) for line, mark in zip(lines, source.marks, strict=True)]


# ---- HTML -----------------------------------------------------------------------------------------------------------


def test_html_as_text_with_sections(tmp_path: Path) -> None:
    body = """<nav>menu</nav><script>code()</script><style>p {}</style><!-- note --><p>Before</p>
        <h1> The <i>big</i><br>title</h1><p>A <b>bold</b> <a href="x">link</a>, 10<sup>6</sup>, 1&nbsp;* 2_3&shy;4</p>
        <ol><li>one</li><li>two</li></ol><h2></h2><blockquote><h2>Quoted</h2></blockquote>
        <table><tr><th>k</th><th>v</th></tr><tr><td>a</td><td>1</td></tr></table><img alt="A picture" src="data:x">
        <pre># not a heading
  x</pre>"""
    source = read(tmp_path, PAGE.format(body))
    assert source.text == (
        "Before\n\n# The big title\n\nA bold link, 10^6^, 1 * 2_34\n\n1. one\n2. two\n\n> ## Quoted\n\n"
        "| k | v |\n| --- | --- |\n| a | 1 |\n\nA picture\n\n```\n# not a heading\n  x\n```"
    )
    assert sections(source) == [("Before", None), ("# The big title", "The big title"), ("## Quoted", "Quoted")]
    assert source.n_pages is None


def test_characters_that_would_break_the_offsets(tmp_path: Path) -> None:
    source = read(tmp_path, epub_bytes({"a": chapter("<h1>a\0&#xD83D;&#xDE00;</h1>\0001\0<h2>&#xD800;\xadb</h2>")}))
    assert "\0" not in source.text
    source.text.encode()  # no halves of characters
    assert [section for _, section in sections(source)] == [
        source.text.split("\n")[0][2:],
        "\N{REPLACEMENT CHARACTER}b",
    ]
    assert source.text.startswith("# ")


def test_extracted_text_is_as_one_would_type_it() -> None:
    assert markup.clean("a\xa0b\xadc \ud83d\ude00 \ud800") == "a bc 😀 \N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("\ufeff<p>Löffel €</p>".encode("utf-16-le"), "Löffel €"),
        ("<meta charset=latin-1><p>Löffel €</p>".encode("cp1252"), "Löffel €"),
        ('<meta http-equiv=Content-Type content="text/html; charset=koi8-r"><p>да</p>'.encode("koi8-r"), "да"),
        ('<?xml version="1.0" encoding="shift_jis"?><p>猫</p>'.encode("shift_jis"), "猫"),
        ("<meta charset=utf-16><p>Löffel</p>".encode(), "Löffel"),
        ("<meta charset=base64><p>Löffel</p>".encode(), "Löffel"),
        ("<p>Löffel</p>".encode(), "Löffel"),
        ("<p>Löffel €</p>".encode("cp1252"), "Löffel €"),
        (b"<meta charset=utf-8><p>a\xffb</p>", "a\N{REPLACEMENT CHARACTER}b"),
        (b"one<br>\r\ntwo", "one\ntwo"),
    ],
)
def test_encodings_of_html(tmp_path: Path, data: bytes, text: str) -> None:
    assert read(tmp_path, data, "a.html").text == text


def test_what_is_html(tmp_path: Path) -> None:
    page = "<html><p>x</p>"
    for data in (page, "\n<!DOCTYPE HTML>" + page, "<?xml version='1.0'?>\n<!-- <p> -->" + page, "\ufeff" + page):
        assert read(tmp_path, data).text == "x"
    assert read(tmp_path, ("\ufeff" + page).encode("utf-16-be")).text == "x"
    for data, name in ((page, "a.md"), ("A page begins with <html>.", "a.txt"), ("<p>x</p>", "a.txt")):
        assert read(tmp_path, data, name).text == data
    assert read(tmp_path, "<p>x</p>", "A.HTM").text == "x"


def test_html_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.html is empty"):
        read(tmp_path, "<html><script>x</script>", "a.html")
    with pytest.raises(ValueError, match=r"a\.html is not HTML, but a binary file: only"):
        read(tmp_path, b"\x89PNG\0\0", "a.html")
    with pytest.raises(ValueError, match=r"a\.html .*nested too deeply"):
        read(tmp_path, "<div>" * 5000 + "x", "a.html")


# ---- DOCX -----------------------------------------------------------------------------------------------------------

LETTER = (
    paragraph("The Letter", "Title")
    + paragraph("Dear reader,")
    + paragraph("One &amp; only", "heading 1")
    + paragraph("first")
    + paragraph("Two", "heading 2")
    + "<w:tbl><w:tr><w:tc>" + paragraph("cell") + "</w:tc><w:tc>" + paragraph("other") + "</w:tc></w:tr></w:tbl>"
    + '<w:p><w:del w:id="1"><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>'
    + paragraph("# no heading")
)  # fmt: skip


def test_docx_headings_are_sections(tmp_path: Path) -> None:
    source = read(tmp_path, docx_bytes(LETTER), "letter.docx")
    assert source.text == (
        "# The Letter\n\nDear reader,\n\n# One & only\n\nfirst\n\n## Two\n\n"
        "| cell | other |\n| --- | --- |\n\n# no heading"
    )
    assert sections(source) == [
        ("# The Letter", "The Letter"),
        ("# One & only", "One & only"),
        ("## Two", "Two"),
    ]
    assert read(tmp_path, docx_bytes(LETTER), "letter.txt").text == source.text  # told by its bytes


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("upperLetter", ["A", "B", "C"]),
        ("lowerRoman", ["i", "ii", "iii"]),
        ("decimalZero", ["01", "02", "03"]),
        ("ordinal", ["1st", "2nd", "3rd"]),
        ("chicago", ["1", "2", "3"]),
        ("none", ["", "", ""]),
    ],
)
def test_numbers_of_word(kind: str, labels: list[str]) -> None:
    from xml.etree.ElementTree import fromstring

    from asl_llamacpp.sources.word.numbering import Numbering
    from asl_llamacpp.sources.word.styles import Styles

    level = f'<w:lvl w:ilvl="0"><w:numFmt w:val="{kind}"/><w:lvlText w:val="%1"/></w:lvl>'
    numbers = f'<w:abstractNum w:abstractNumId="0">{level}</w:abstractNum>'
    xml = fromstring(f'<w:x {WORD}>{numbers}<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num></w:x>')
    numbering = Numbering(xml, Styles(None))
    assert [numbering.label("1", 0) for _ in range(3)] == labels


def test_notes_text_boxes_and_what_is_said_twice(tmp_path: Path) -> None:
    note = '<w:r><w:footnoteReference w:id="2"/></w:r>'
    box = f"<w:txbxContent>{paragraph('boxed')}</w:txbxContent>"
    ways = f"<w:Choice>{box}</w:Choice><w:Fallback>{box}</w:Fallback>"
    twice = f"<w:r><w:AlternateContent>{ways}</w:AlternateContent></w:r>"
    body = paragraph("Rent").replace("</w:p>", f"{note}</w:p>")
    parts = docx_parts(body + paragraph("Beside").replace("</w:p>", f"{twice}</w:p>"))
    footnote = f'<w:footnote w:id="2">{paragraph("in coins")}</w:footnote>'
    parts["word/footnotes.xml"] = f"<w:footnotes {WORD}>{footnote}</w:footnotes>"
    assert read(tmp_path, zip_bytes(parts)).text == "Rent[1]\n\nBeside\n\nboxed\n\n[1] in coins"


def test_an_empty_docx(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="document is empty"):
        read(tmp_path, docx_bytes(paragraph("")))


# ---- EPUB -----------------------------------------------------------------------------------------------------------

BOOK = {
    "z.xhtml": chapter("<p>Cover words</p>"),
    "a.xhtml": chapter("<p>Motto</p><h1>One</h1><p>first</p>"),
    "m%20b.xhtml": chapter("<p>second</p>", "Two"),
    "image.xhtml": chapter("<img src='x'/>"),
    "c.xhtml": chapter("<p>goes on</p>"),
}


def test_epub_chapters_in_the_order_of_the_spine(tmp_path: Path) -> None:
    parts = epub_parts(BOOK, ncx={"a.xhtml": "Chapter 1", "z.xhtml": "Cover"})
    parts["OEBPS/m b.xhtml"] = parts.pop("OEBPS/m%20b.xhtml")
    source = read(tmp_path, zip_bytes(parts), "book.epub")
    assert source.text == "Cover words\n\nMotto\n\n# One\n\nfirst\n\nsecond\n\ngoes on"
    assert sections(source) == [
        ("Cover words", "Cover"),
        ("Motto", "Chapter 1"),
        ("# One", "One"),
        ("second", "Two"),
    ]
    assert source.place(source.text.index("goes on")) == (None, "Two")  # its title is the book's, so it says nothing


def test_epub_navigation_document(tmp_path: Path) -> None:
    link = '<a href="../b.xhtml">'
    nav = f'<nav epub:type="landmarks">{link}Start</a></nav><nav epub:type="toc">{link}B</a></nav>'
    parts = epub_parts({"b.xhtml": chapter("<p>text</p>")}, ncx={"b.xhtml": "of the NCX"})
    opf = str(parts["OEBPS/book.opf"])
    item = '<item id="nav" href="nav/nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
    parts |= {"OEBPS/book.opf": opf.replace("</manifest>", item + "</manifest>"), "OEBPS/nav/nav.xhtml": chapter(nav)}
    assert sections(read(tmp_path, zip_bytes(parts))) == [("text", "B")]


def test_epub_with_a_broken_table_of_contents(tmp_path: Path) -> None:
    parts = epub_parts(BOOK | {"m%20b.xhtml": chapter("<p>text</p>")}, ncx={})
    parts["OEBPS/m b.xhtml"] = chapter("<h2>B</h2>")
    parts["OEBPS/toc.ncx"] = "<ncx><navMap>"
    assert sections(read(tmp_path, zip_bytes(parts)))[-1] == ("## B", "B")


def encryption(algorithm: str) -> str:
    return (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" xmlns:e="http://www.w3.org/2001/04/xmlenc#">'
        f'<e:EncryptedData><e:EncryptionMethod Algorithm="{algorithm}"/></e:EncryptedData></encryption>'
    )


def test_drm_is_refused_and_garbled_fonts_are_not(tmp_path: Path) -> None:
    parts = epub_parts({"a.xhtml": chapter("<p>text</p>")})
    fonts = {"META-INF/encryption.xml": encryption("http://www.idpf.org/2008/embedding")}
    assert read(tmp_path, zip_bytes(parts | fonts)).text == "text"
    locked = {"META-INF/encryption.xml": encryption("http://www.w3.org/2001/04/xmlenc#aes128-cbc")}
    with pytest.raises(ValueError, match=r"book\.epub is protected with DRM"):
        read(tmp_path, zip_bytes(parts | locked), "book.epub")


def test_an_epub_with_bad_chapters(tmp_path: Path) -> None:
    """One is missing, one names no file, one fails its checksum: the others are read."""
    parts = epub_parts({f"{c}.xhtml": chapter(f"<h1>{c}</h1><p>part {c * 40}</p>") for c in "abcd"})
    del parts["OEBPS/b.xhtml"]
    opf = str(parts["OEBPS/book.opf"]).replace("</spine>", '<itemref idref="nowhere"/></spine>')
    data = bytearray(zip_bytes(parts | {"OEBPS/book.opf": opf}))
    with ZipFile(io.BytesIO(bytes(data))) as opened:
        at = opened.getinfo("OEBPS/c.xhtml").header_offset
    data[at + 60] ^= 0xFF
    source = read(tmp_path, bytes(data), "book.epub")
    assert [heading.title for heading in source.headings] == ["a", "d"]
    assert len(source.warnings) == 3
    for warning, part, why in zip(
        source.warnings, ("nowhere", "b.xhtml", "c.xhtml"), ("not in it", "not in it", "damaged"), strict=True
    ):
        assert part in warning and why in warning and "was not read" in warning


@pytest.mark.parametrize("text", ["", " hidden", " style='color: #FFF'"])
def test_hidden_words_are_counted(tmp_path: Path, text: str) -> None:
    source = read(tmp_path, f"<html><p>Seen.<p{text}>two words</p>", "a.html")
    assert source.text == ("Seen." if text else "Seen.\n\ntwo words")
    assert len(source.warnings) == bool(text)
    assert not text or source.warnings[0].startswith("2 words are hidden")


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p style='color:white'>a</p>", None),
        ("<link rel=stylesheet href=x><p style='color:white'>a</p>", "a"),  # who knows what it stands on
        ("<body bgcolor=black><p style='color:white'>a</p>", "a"),
        ("<body style='background:url(x)'><p style='color:white'>a</p>", "a"),
        ("<p style='color:rgb(250, 250, 255)'>a</p>", None),
        ("<p style='color:#eee'>a</p>", "a"),
        ("<style>@media print {p {display:none}}</style><p>a", "a"),
        ("<style>@media screen {p {display:none}}</style><p>a", None),
        ("<style>.a{display:none} .a.b{display:block}</style><p class='a b'>a", "a"),
        ("<p style='visibility: hidden'>a", None),
        ("<p style='font-size:0'>a", None),
        ("<p style='opacity:0.5'>a", "a"),
        ("<dialog>a</dialog>", None),
        ("<style>p:has(>x) ::broken {display:none} b[ {display:none}</style><p>a", "a"),
    ],
)
def test_what_is_hidden(tmp_path: Path, html: str, text: str | None) -> None:
    source = read(tmp_path, f"<html>{html}<div>end", "a.html")
    assert source.text.split() == ([text, "end"] if text else ["end"]) or (text is None and source.text == "end")


def test_lists_of_html(tmp_path: Path) -> None:
    html = "<ol start=3><li>a<li value=7>b<ul><li>c<ol type=i><li>d</ol></ul><li>e</ol><ol type=A><li>f</ol>"
    assert read(tmp_path, f"<html>{html}").text == "3. a\n7. b\n  - c\n    i. d\n8. e\n\nA. f"


@pytest.mark.parametrize("part", ["META-INF/container.xml", "OEBPS/book.opf", "OEBPS/a.xhtml"])
def test_an_incomplete_epub(tmp_path: Path, part: str) -> None:
    parts = epub_parts({"a.xhtml": chapter("<p>text</p>")})
    del parts[part]
    with pytest.raises(ValueError, match=rf"book\.epub is incomplete: (?:it has no|its chapter) '{part}'"):
        read(tmp_path, zip_bytes(parts), "book.epub")


# ---- archives that harm ---------------------------------------------------------------------------------------------

LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("entity", [LAUGHS, OUTSIDE])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_entities_are_refused(tmp_path: Path, entity: str, encoding: str) -> None:
    word = docx_parts(paragraph("&a;"))
    word["word/document.xml"] = (entity + str(word["word/document.xml"])).encode(encoding)
    book = epub_parts({"a.xhtml": chapter("text")})
    book["OEBPS/book.opf"] = (entity + str(book["OEBPS/book.opf"])).encode(encoding)
    for parts in (word, book):
        with pytest.raises(ValueError, match="document declares XML entities"):
            read(tmp_path, zip_bytes(parts))


def test_entities_in_chapters_are_text(tmp_path: Path) -> None:
    page = OUTSIDE.replace("<!DOCTYPE x", "<!DOCTYPE html") + "<html><body><p>a &a; b</p></body></html>"
    text = read(tmp_path, epub_bytes({"a.xhtml": page})).text
    assert "root:" not in text
    assert text in ("a &a; b", "a &a b")


def test_archives_that_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 3 * 2**20)
    monkeypatch.setattr(archive, "MAX_PART_BYTES", 2**20)
    picture = {"word/media/image.png": bytes(2 * 2**20)}
    assert read(tmp_path, zip_bytes(docx_parts(paragraph("text")) | picture)).text == "text"
    zeros = bytes(2 * 2**20)
    for parts in (docx_parts(paragraph("text")), epub_parts({"a.xhtml": chapter("text")})):
        with pytest.raises(ValueError, match="document would unpack to more than 3 MiB"):
            read(tmp_path, zip_bytes(parts | {"1.png": zeros, "2.png": zeros}))
    for parts in (docx_parts(paragraph("text")) | {"word/styles.xml": zeros}, epub_parts({"a.xhtml": " " * 2**21})):
        with pytest.raises(ValueError, match="document has more than 1 MiB in its part"):
            read(tmp_path, zip_bytes(parts))


def test_a_member_that_lies_about_its_size(tmp_path: Path) -> None:
    data = zip_bytes(docx_parts(paragraph("x" * 2**20)))
    with ZipFile(io.BytesIO(data)) as opened:
        true = opened.getinfo("word/document.xml").file_size
    lied = data.replace(true.to_bytes(4, "little"), (100).to_bytes(4, "little"))
    assert lied != data
    with pytest.raises(ValueError, match="document cannot be read as a DOCX file"):
        read(tmp_path, lied)


def test_an_archive_with_a_password(tmp_path: Path) -> None:
    data = bytearray(zip_bytes(docx_parts(paragraph("text"))))
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    with pytest.raises(ValueError, match="document is locked with a password"):
        read(tmp_path, bytes(data))
