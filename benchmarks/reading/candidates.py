"""Readers to compare: each gives the text of a file, its pages divided by form feeds where it knows them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from asl_llamacpp.sources import Reading
from asl_llamacpp.sources.content import read_bytes

Read = Callable[[bytes, str], str]


@dataclass(frozen=True)
class Candidate:
    """name, as its distribution is called; the formats that it reads; how."""

    name: str
    formats: tuple[str, ...]
    read: Read


def module(name: str) -> Any:
    return import_module(name)


def ours(data: bytes, name: str) -> str:
    source = read_bytes(data, name, Reading(ocr=False))
    return "\f".join(source.text[start:end] for start, end in source.pages()) or source.text


def pypdf(data: bytes, name: str) -> str:
    reader = module("pypdf").PdfReader(io.BytesIO(data))
    if reader.is_encrypted:
        reader.decrypt("")
    return "\f".join(page.extract_text() for page in reader.pages)


def pypdfium2(data: bytes, name: str) -> str:
    document = module("pypdfium2").PdfDocument(data)
    return "\f".join(document[i].get_textpage().get_text_range() for i in range(len(document)))


def pdfplumber(data: bytes, name: str) -> str:
    with module("pdfplumber").open(io.BytesIO(data)) as document:
        return "\f".join(page.extract_text() for page in document.pages)


def pdf_oxide(data: bytes, name: str) -> str:
    document = module("pdf_oxide").PdfDocument.from_bytes(data)
    return "\f".join(document.to_markdown(i) for i in range(document.page_count()))


def docling_parse(data: bytes, name: str) -> str:
    parser = module("docling_parse.pdf_parser").DoclingPdfParser(loglevel="fatal")
    cells = module("docling_core.types.doc.page").TextCellUnit.LINE
    document = parser.load(io.BytesIO(data))
    return "\f".join("\n".join(cell.text for cell in page.iterate_cells(cells)) for _, page in document.iterate_pages())


def with_soup(builder: str) -> Read:
    def read(data: bytes, name: str) -> str:
        soup = module("bs4").BeautifulSoup(data, builder)
        return str(module("markdownify").MarkdownConverter(heading_style="atx", bullets="-").convert_soup(soup))

    return read


def mammoth(data: bytes, name: str) -> str:
    html = module("mammoth").convert_to_html(io.BytesIO(data)).value
    return with_soup("html.parser")(html.encode(), name)


def docx2python(data: bytes, name: str) -> str:
    with module("docx2python").docx2python(io.BytesIO(data)) as document:
        return str(document.text)


def python_docx(data: bytes, name: str) -> str:
    lines = []
    for block in module("docx").Document(io.BytesIO(data)).iter_inner_content():
        if hasattr(block, "rows"):
            lines += ["\t".join(cell.text for cell in row.cells) for row in block.rows]
        else:
            lines.append(block.text)
    return "\n".join(lines)


def markitdown(data: bytes, name: str) -> str:
    converter = module("markitdown").MarkItDown()
    suffix = "." + name.rpartition(".")[2]
    return str(converter.convert_stream(io.BytesIO(data), file_extension=suffix).text_content)


ALL = (
    Candidate("asl-llamacpp", ("pdf", "html", "docx", "epub", "txt", "md"), ours),
    Candidate("pypdf", ("pdf",), pypdf),
    Candidate("pypdfium2", ("pdf",), pypdfium2),
    Candidate("pdfplumber", ("pdf",), pdfplumber),
    Candidate("pdf-oxide", ("pdf",), pdf_oxide),
    Candidate("docling-parse", ("pdf",), docling_parse),
    Candidate("html.parser, markdownify", ("html",), with_soup("html.parser")),
    Candidate("lxml, markdownify", ("html",), with_soup("lxml")),
    Candidate("html5lib, markdownify", ("html",), with_soup("html5lib")),
    Candidate("mammoth", ("docx",), mammoth),
    Candidate("docx2python", ("docx",), docx2python),
    Candidate("python-docx", ("docx",), python_docx),
    Candidate("markitdown", ("html", "docx", "epub"), markitdown),
)
