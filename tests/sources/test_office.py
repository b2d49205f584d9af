"""Spreadsheets, presentations, ODT and RTF: the text that a person sees, where it stands, and what is left out."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from document_files import zip_bytes
from office_files import made_pptx, made_xlsx, odt_bytes
from openpyxl.comments import Comment
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from asl_llamacpp.sources import PageProgress, Reading
from asl_llamacpp.sources.cell_text import cell_text
from asl_llamacpp.sources.content import read_bytes

# ---- XLSX -----------------------------------------------------------------------------------------------------------


def fill_book(book: Any) -> None:
    sheet = book.active
    sheet.title = "Umsätze"
    for row in (["Jahresbericht"], [], ["Region", "Produkt", "Stück"], ["EU", "Kabel", 12], [None, "Hub|2", 7]):
        sheet.append(row)
    sheet.merge_cells("A1:C1")
    sheet.merge_cells("A4:A5")
    sheet["B5"].comment = Comment("geschätzt,\nnicht gezählt", "me")
    other = book.create_sheet("日本")
    other["B2"], other["C2"] = "日付", dt.datetime(2024, 2, 29)
    other["B3"], other["C3"] = "割合", 0.125
    other["C3"].number_format = "0.0%"
    other["XFD1048576"] = "遠い"
    book.create_sheet("secret").sheet_state = "hidden"


def test_sheets_are_sections_and_merged_cells_are_in_each_place() -> None:
    seen: list[PageProgress] = []
    source = read_bytes(made_xlsx(fill_book), "a.xlsx", Reading(on_page=seen.append))
    assert source.text == (
        "# Umsätze\n\nJahresbericht\n\n| Region | Produkt | Stück |\n| --- | --- | --- |\n| EU | Kabel | 12 |\n"
        "| EU | Hub\\|2 | 7 |\n\nComment on B5: geschätzt, nicht gezählt\n\n# 日本\n\n"
        "| 日付 | 2024-02-29 |\n| --- | --- |\n| 割合 | 12.5% |\n\n遠い"
    )
    assert [heading.title for heading in source.headings] == ["Umsätze", "日本"]
    assert source.place(source.text.index("割合")) == (None, "日本")
    assert source.warnings == ("the sheet 'secret' is hidden, and was left out",)
    assert [page.done for page in seen] == [1, 2, 3]


def test_formulas_without_a_value_and_hidden_columns_are_named() -> None:
    def fill(book: Any) -> None:
        sheet = book.active
        sheet.append(["a", "b", "c"])
        sheet.append([1, 2, "=A2+B2"])
        sheet.column_dimensions["B"].hidden = True

    source = read_bytes(made_xlsx(fill), "a.xlsx")
    assert source.text == "# Sheet\n\n| a | c |\n| --- | --- |\n| 1 | |"
    assert source.warnings == (
        "2 cells in hidden rows and columns of 'Sheet' were left out",
        "formulas of 'Sheet' have no saved value (C2): save the file with a spreadsheet program",
    )


def test_formulas_give_their_saved_values() -> None:
    import io

    import xlsxwriter

    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True}) as book:
        sheet = book.add_worksheet("S")
        sheet.write_row(0, 0, ["x", "y"])
        sheet.write_formula(1, 0, "=SUM(1,2)", None, 3)
        sheet.write_formula(1, 1, '="a"&"b"', None, "ab")
    source = read_bytes(file.getvalue(), "a.xlsx")
    assert source.text == "# S\n\n| x | y |\n| --- | --- |\n| 3 | ab |"
    assert source.warnings == ()


@pytest.mark.parametrize(
    ("value", "number_format", "text"),
    [
        (0.1 + 0.2, "General", "0.3"),
        (1e15, "General", "1e+15"),
        (0.00001, "General", "0.00001"),
        (12, "0", "12"),
        (1234.5, "#,##0.00", "1234.50"),
        (1234.5, '#,##0.00 "€"', "1234.50 €"),
        (1234.5, "[$€-407] #,##0.00", "€ 1234.50"),
        (-3, '#,##0 "kg";(#,##0 "kg")', "-3 kg"),
        (-3, "0.0;[Red]-0.0", "-3.0"),
        (0.5, "0%", "50%"),
        (0.12345, "0.##%", "12.345%"),
        (True, "General", "TRUE"),
        (dt.datetime(2024, 2, 29, 13, 5), "yyyy", "2024-02-29 13:05"),
        (dt.datetime(2024, 2, 29), "General", "2024-02-29"),
        (dt.time(9, 30), "hh:mm", "09:30"),
        (dt.timedelta(hours=30, minutes=5), "[h]:mm", "30:05:00"),
        (None, "General", ""),
        ("#DIV/0!", "General", "#DIV/0!"),
    ],
)
def test_values_as_they_are_shown(value: object, number_format: str, text: str) -> None:
    assert cell_text(value, number_format) == text


# ---- PPTX -----------------------------------------------------------------------------------------------------------


def fill_deck(deck: Any) -> None:
    deck.part._element.set("firstSlideNum", "7")
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "Планы"
    body = slide.placeholders[1].text_frame
    body.text = "Первый"
    inner = body.add_paragraph()
    inner.text, inner.level = "внутри", 1
    slide.notes_slide.notes_text_frame.text = "Сказать спасибо"
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    table = slide.shapes.add_table(3, 2, Inches(1), Inches(2), Inches(4), Inches(2)).table
    for at, text in enumerate(["Region", "Product", "EU", "Cable", "", "Hub"]):
        table.cell(at // 2, at % 2).text = text
    table.cell(1, 0).merge(table.cell(2, 0))
    below = slide.shapes.add_textbox(Inches(1), Inches(6), Inches(2), Inches(1))
    below.text_frame.text = "below"
    above = slide.shapes.add_textbox(Inches(1), Inches(1), Inches(2), Inches(1))
    above.text_frame.text = "above"
    data = CategoryChartData()
    data.categories = ["Q1", "Q2"]
    data.add_series("Sales", (1.5, 2))
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    slide.shapes.add_chart(XL_CHART_TYPE.PIE, Inches(1), Inches(1), Inches(3), Inches(3), data)
    slide._element.set("show", "0")
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(1), Inches(1), Inches(3), Inches(3), data)


def test_slides_are_pages() -> None:
    source = read_bytes(made_pptx(fill_deck), "a.pptx")
    assert source.text == (
        "# Планы\n\n- Первый\n  - внутри\n\nNotes: Сказать спасибо\n\n# Slide 2\n\nabove\n\n"
        "| Region | Product |\n| --- | --- |\n| EU | Cable |\n| EU | Hub |\n\nbelow\n\n# Slide 4\n\n"
        "| | Sales |\n| --- | --- |\n| Q1 | 1.5 |\n| Q2 | 2 |"
    )
    assert source.n_pages == 4
    assert source.page_labels == ("7", "8", "9", "10")
    assert source.warnings == ("slide 3 is hidden, and was left out",)
    places = [source.place(source.text.index(word)) for word in ("внутри", "Hub", "Q2")]
    assert places == [(1, "Планы"), (2, "Slide 2"), (4, "Slide 4")]


# ---- ODT ------------------------------------------------------------------------------------------------------------

NUMBERED = (
    '<text:list-style style:name="N"><text:list-level-style-number text:level="1" style:num-format="1"/>'
    '<text:list-level-style-bullet text:level="2"/></text:list-style>'
    '<style:style style:name="H"><style:text-properties text:display="none"/></style:style>'
)


def item(text: str) -> str:
    return f"<text:list-item><text:p>{text}</text:p></text:list-item>"


def test_odt() -> None:
    cell = "<table:table-cell{}><text:p>{}</text:p></table:table-cell>".format
    rows = [
        cell("", "Region") + cell("", "Product") + cell("", "Units"),
        cell(' table:number-rows-spanned="2"', "EU") + cell("", "Cable") + cell("", "12"),
        "<table:covered-table-cell/>" + cell("", "Hub") + cell("", "7"),
    ]
    table = "".join(f"<table:table-row>{row}</table:table-row>" for row in rows)
    body = (
        "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
        '<text:h text:outline-level="2">Ζώα</text:h>'
        '<text:p>a<text:s text:c="2"/>b<text:line-break/>c &lt;d&gt;<text:note>'
        "<text:note-citation>1</text:note-citation>"
        "<text:note-body><text:p>a note</text:p></text:note-body></text:note></text:p>"
        f'<text:list text:style-name="N">{item("Delivery")}</text:list><text:p>prose</text:p>'
        f'<text:list text:style-name="N" text:continue-numbering="true">{item("Notice")}</text:list>'
        f'<table:table>{table}</table:table><text:p>seen<text:span text:style-name="H"> unseen</text:span></text:p>'
    )
    source = read_bytes(odt_bytes(body, automatic=NUMBERED), "a.odt")
    assert source.text == (
        "## Ζώα\n\na b\nc <d> [a note]\n\n1. Delivery\n\nprose\n\n2. Notice\n\n"
        "| Region | Product | Units |\n| --- | --- | --- |\n| EU | Cable | 12 |\n| EU | Hub | 7 |\n\nseen"
    )
    assert source.marks[0].section == "Ζώα"
    assert source.warnings and "hidden" in source.warnings[0]


def test_a_locked_odt() -> None:
    manifest = (
        '<m xmlns="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"><file-entry><encryption-data/></file-entry></m>'
    )
    data = zip_bytes({"mimetype": "application/vnd.oasis.opendocument.text", "META-INF/manifest.xml": manifest})
    with pytest.raises(ValueError, match=r"a\.odt is locked with a password"):
        read_bytes(data, "a.odt")


# ---- RTF ------------------------------------------------------------------------------------------------------------


def test_rtf() -> None:
    row = r"\trowd\cellx100\cellx200 {}\cell {}\cell\row "
    rtf = (
        r"{\rtf1\ansi\ansicpg1251\deff0{\fonttbl{\f0\fcharset204 Arial;}}{\info{\title no}}\f0 "
        r"\'cf\'f0\'e8\'e2\'e5\'f2 \u20320?\u22909? a|b\par second {\*\unknown gone}line\par "
        + row.format("Name", "Price").replace("  ", " ")
        + row.format("Bolt", "3 \\'88")
        + r"\pard end\par}"
    )
    source = read_bytes(rtf.encode("latin-1"), "a.rtf")
    assert source.text == ("Привет 你好 a|b\n\nsecond line\n\n| Name | Price |\n| --- | --- |\n| Bolt | 3 € |\n\nend")


# ---- broken ones ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.xlsx", zip_bytes({"xl/workbook.xml": "<x/>"}), "cannot be read as an XLSX file"),
        ("a.pptx", zip_bytes({"ppt/presentation.xml": "<x/>"}), "cannot be read as a PPTX file"),
        (
            "a.odt",
            zip_bytes({"mimetype": "application/vnd.oasis.opendocument.text"}),
            "incomplete: it has no 'content.xml'",
        ),
        ("a.rtf", b"{\\rtf1 }", "is empty"),
    ],
)
def test_broken_files(name: str, data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_bytes(data, name)
    assert name in str(error.value)
