"""A small file of each format that has much of what the format can have."""

from __future__ import annotations

import io
from email.message import EmailMessage
from typing import Any

from document_files import chapter, docx_parts, epub_parts, paragraph, zip_bytes
from office_files import made_pptx, made_xlsx, msg_bytes, odp_bytes, ods_bytes, odt_bytes
from openpyxl.comments import Comment
from pdf_files import pdf_bytes
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from reportlab.pdfgen.canvas import Canvas


def _book(book: Any) -> None:
    sheet = book.active
    for row in (["Title"], [], ["a", "b", "c"], [1, 2.5, "=A4+B4"], [True, "text", "x" * 50]):
        sheet.append(row)
    sheet.merge_cells("A1:C1")
    sheet["B4"].comment, sheet["B4"].number_format = Comment("note", "me"), "0.0%"
    book.create_sheet("other")["C3"] = "far"


def _deck(deck: Any) -> None:
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text, slide.placeholders[1].text_frame.text = "Title", "one\ntwo"
    slide.notes_slide.notes_text_frame.text = "notes"
    table = slide.shapes.add_table(2, 2, 0, 0, 9999, 9999).table
    table.cell(0, 0).merge(table.cell(1, 0))
    data = CategoryChartData()
    data.categories = ["a", "b"]
    data.add_series("s", (1, 2))
    slide.shapes.add_chart(XL_CHART_TYPE.BAR_CLUSTERED, 0, 0, 9999, 9999, data)


def _pdf() -> bytes:
    file = io.BytesIO()
    canvas = Canvas(file, pageCompression=0)
    canvas.bookmarkPage("one")
    canvas.addOutlineEntry("One", "one")
    for line in range(20):
        canvas.drawString(60, 700 - 15 * line, f"A line of text, number {line}, which is long enough for two columns")
    canvas.acroForm.textfield(name="surname", value="Zimmermann", x=60, y=100)
    canvas.grid([60, 120, 180], [200, 220, 240])
    canvas.drawString(70, 205, "cell")
    canvas.showPage()
    canvas.drawString(60, 700, "second page")
    canvas.save()
    return file.getvalue()


def _mail() -> bytes:
    message = EmailMessage()
    message["Subject"], message["From"], message["Date"] = "Größe", "Ä <a@b.example>", "Thu, 29 Feb 2024 13:05:00 +0100"
    message.set_content("plain text")
    message.add_alternative("<h1>html</h1>", subtype="html")
    message.add_attachment(b"data", maintype="application", subtype="pdf", filename="ä.pdf")
    return message.as_bytes()


HTML = (
    b"<!doctype html><html><head><meta charset=utf-8><style>p.x{display:none}</style></head><h1>One</h1><p class=x>a"
    b"<ul><li>Apples<li>Pears<ol start=3><li>x</ol></ul><table><tr><th rowspan=2>A<th colspan=2>B<tr><td>1<td>2</table>"
    b"<details><summary>More</summary>Body</details><pre>code\n  x</pre>"
)
_ITEM = "<text:list-item><text:p>item<text:note><text:p>n</text:p></text:note></text:p></text:list-item>"
_LIST = f"<text:list>{_ITEM}</text:list>"
_SPANS = 'table:number-columns-spanned="2" table:number-columns-repeated="3"'
_CELL = f"<table:table-cell {_SPANS}><text:p>c</text:p></table:table-cell>"
ODT = (
    f'<text:h text:outline-level="2">Head</text:h>{_LIST}<table:table><table:table-row table:number-rows-repeated="4">'
    f'{_CELL}</table:table-row></table:table><text:p>end<text:s text:c="3"/></text:p>'
)
_ROW_OF_SHEET = (
    '<table:table-row table:number-rows-repeated="2"><table:table-cell office:value-type="date" '
    'office:date-value="2024-02-29"/><table:table-cell table:number-columns-repeated="2"><text:p>3 EUR</text:p>'
    "</table:table-cell></table:table-row>"
)
_BOX = f"<draw:frame svg:y='2cm'><draw:text-box>{_LIST}</draw:text-box></draw:frame>"
RTF = rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}\f0 Gr\'fc\'dfe \u20320?\par\trowd a\cell b\cell\row end}"
_ROW = f"<w:tbl><w:tr><w:tc>{paragraph('c')}</w:tc></w:tr></w:tbl>"
_DOCX = paragraph("Title", "heading 1") + paragraph("text " * 20) + _ROW

SAMPLES: dict[str, bytes] = {
    "form.pdf": _pdf(),
    "plain.pdf": pdf_bytes(["First page", "Second page"]),
    "a.docx": zip_bytes(docx_parts(_DOCX)),
    "a.epub": zip_bytes(epub_parts({"a.xhtml": chapter("<h1>One</h1><p>text</p>")}, ncx={"a.xhtml": "A"})),
    "a.html": HTML,
    "a.xlsx": made_xlsx(_book),
    "a.pptx": made_pptx(_deck),
    "a.odt": odt_bytes(ODT),
    "a.ods": ods_bytes(f'<table:table table:name="Prices">{_ROW_OF_SHEET * 3}</table:table>'),
    "a.odp": odp_bytes(f"<draw:page>{_BOX}</draw:page>"),
    "a.rtf": RTF,
    "a.csv": 'name;price\r\n"a;b";"1\r\n2"\r\nLöffel;3,5\r\n'.encode(),
    "latin.csv": "Größe;Käse\nLöffel;3\n".encode("cp1252"),
    "a.eml": _mail(),
    "a.msg": msg_bytes({0x0037: "Subject", 0x1000: "Body", 0x0E04: "Ann", 0x1013: b"<p>html"}, ["plan.pdf"]),
    "a.md": b"# One\n\ntext\n\nTwo\n===\n\x0c```\n# code\n```\n",
}
