"""DOCX by python-docx: lists, tables, comments, what is hidden."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import docx
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import RGBColor

from .case import Case


def made(write: Callable[[Any], None]) -> bytes:
    document, file = docx.Document(), io.BytesIO()
    write(document)
    document.save(file)
    return file.getvalue()


def element(name: str, **attributes: str) -> Any:
    one = OxmlElement(name)
    for key, value in attributes.items():
        one.set(qn(f"w:{key}"), value)
    return one


def simple(document: Any) -> None:
    document.add_heading("The Lease", 0)
    document.add_heading("Rent", 1)
    paragraph = document.add_paragraph("It is ")
    paragraph.add_run("10").bold = True
    paragraph.add_run("6").font.superscript = True
    paragraph.add_run(" coins.")


def numbers(document: Any) -> None:
    document.add_paragraph("Delivery", style="List Number")
    document.add_paragraph("It is free.")
    document.add_paragraph("Notice", style="List Number")
    document.add_paragraph("a bullet", style="List Bullet")
    document.add_paragraph("Court", style="List Number")


def number_headings(document: Any) -> None:
    """Headings that Word numbers: 1, 1.1, and Article I."""
    numbering = document.part.numbering_part.element
    abstract = element("w:abstractNum", abstractNumId="77")
    for level, (kind, text, style) in enumerate(
        (("decimal", "%1", "Heading1"), ("decimal", "%1.%2", "Heading2"), ("lowerLetter", "(%3)", "Heading3"))
    ):
        one = element("w:lvl", ilvl=str(level))
        for name, value in (("start", "1"), ("numFmt", kind), ("pStyle", style), ("lvlText", text)):
            one.append(element(f"w:{name}", val=value))
        abstract.append(one)
    numbering.insert(0, abstract)
    number = element("w:num", numId="77")
    number.append(element("w:abstractNumId", val="77"))
    numbering.append(number)
    for level in range(3):
        properties = document.styles[f"Heading {level + 1}"].element.get_or_add_pPr()
        inner = element("w:numPr")
        inner.append(element("w:ilvl", val=str(level)))
        inner.append(element("w:numId", val="77"))
        properties.append(inner)
    for level, text in ((1, "Scope"), (2, "Who"), (3, "People"), (3, "Firms"), (2, "Where"), (1, "Price"), (2, "Tax")):
        document.add_heading(text, level)


def restarted(document: Any) -> None:
    """A second list of the same definition, which begins at 5."""
    document.add_paragraph("one", style="List Number")
    document.add_paragraph("two", style="List Number")
    numbering = document.part.numbering_part.element
    old = document.styles["List Number"].element.pPr.numPr.numId.val
    abstract = next(n for n in numbering.findall(qn("w:num")) if n.get(qn("w:numId")) == str(old)).abstractNumId.val
    number = element("w:num", numId="99")
    number.append(element("w:abstractNumId", val=str(abstract)))
    override = element("w:lvlOverride", ilvl="0")
    override.append(element("w:startOverride", val="5"))
    number.append(override)
    numbering.append(number)
    for text in ("five", "six"):
        paragraph = document.add_paragraph(text, style="List Number")
        properties = paragraph._p.get_or_add_pPr()
        inner = element("w:numPr")
        inner.append(element("w:ilvl", val="0"))
        inner.append(element("w:numId", val="99"))
        properties.append(inner)


def filled(table: Any, rows: tuple[tuple[str, ...], ...]) -> None:
    for r, row in enumerate(rows):
        for c, text in enumerate(row):
            table.cell(r, c).text = text


def merged_down(document: Any) -> None:
    table = document.add_table(3, 3)
    filled(table, (("Region", "Product", "Units"), ("", "Cable", "12"), ("", "Hub", "7")))
    table.cell(1, 0).merge(table.cell(2, 0)).text = "EU"


def merged_across(document: Any) -> None:
    table = document.add_table(3, 3)
    filled(table, (("Item", "2030", "2031"), ("Bolt", "", ""), ("Nut", "", "3")))
    table.cell(1, 1).merge(table.cell(1, 2)).text = "free"


def hidden(document: Any) -> None:
    paragraph = document.add_paragraph("Seen. ")
    paragraph.add_run("secret1 ").font.hidden = True
    paragraph.add_run("secret2 ").font.color.rgb = RGBColor(255, 255, 255)
    paragraph.add_run("Also seen.")


def changed(document: Any) -> None:
    """Text that was deleted and text that was put in, with changes tracked."""
    paragraph = document.add_paragraph("The price is ")
    for name, kind, text in (("w:del", "w:delText", "12"), ("w:ins", "w:t", "15")):
        change, run, inner = element(name, id="1", author="A"), OxmlElement("w:r"), OxmlElement(kind)
        inner.text = text
        run.append(inner)
        change.append(run)
        paragraph._p.append(change)
    paragraph.add_run(" coins.")


def commented(document: Any) -> None:
    paragraph = document.add_paragraph("The rent is 500.")
    document.add_comment(paragraph.runs, text="Was it not 400?", author="Anna", initials="A")
    document.add_paragraph("The end.")


def controls(document: Any) -> None:
    """A content control around a paragraph, and a check box of the older kind."""
    paragraph = document.add_paragraph("Name: Zimmermann")
    control, content = OxmlElement("w:sdt"), OxmlElement("w:sdtContent")
    paragraph._p.addprevious(control)
    content.append(paragraph._p)
    control.append(content)
    box = document.add_paragraph()
    run, begin, data, check = (OxmlElement(f"w:{name}") for name in ("r", "fldChar", "ffData", "checkBox"))
    begin.set(qn("w:fldCharType"), "begin")
    check.append(element("w:default", val="1"))
    data.append(check)
    begin.append(data)
    run.append(begin)
    box._p.append(run)
    box.add_run(" wants the newsletter")


def languages(document: Any) -> None:
    for text in ("Größe: 5 m²", "Договор №5", "合同生效", "שלום 12 עולם"):
        document.add_paragraph(text)


MERGED = (("Region", "Product", "Units"), ("EU", "Cable", "12"), ("EU", "Hub", "7"))
ACROSS = (("Item", "2030", "2031"), ("Bolt", "free", "free"), ("Nut", "", "3"))
WORD = tuple(
    Case(f"{name}.docx", lambda write=write: made(write), text, rows=rows, absent=absent)  # type: ignore[misc]
    for name, write, text, rows, absent in (
        ("simple", simple, "The Lease Rent It is 10^6^ coins.", (), ()),
        ("numbers-go-on", numbers, "1. Delivery It is free. 2. Notice a bullet 3. Court", (), ()),
        (
            "numbered-headings",
            number_headings,
            "1 Scope 1.1 Who (a) People (b) Firms 1.2 Where 2 Price 2.1 Tax",
            (),
            (),
        ),
        ("restarted-list", restarted, "1. one 2. two 5. five 6. six", (), ()),
        ("merged-down", merged_down, " ".join(" ".join(row) for row in MERGED), MERGED, ()),
        ("merged-across", merged_across, " ".join(" ".join(row) for row in ACROSS), ACROSS, ()),
        ("hidden", hidden, "Seen. Also seen.", (), ("secret1", "secret2")),
        ("changes", changed, "The price is 15 coins.", (), ("12",)),
        ("comment", commented, "The rent is 500. Comment (Anna): Was it not 400? The end.", (), ()),
        ("controls", controls, "Name: Zimmermann [x] wants the newsletter", (), ()),
        ("languages", languages, "Größe: 5 m² Договор №5 合同生效 שלום 12 עולם", (), ()),
    )
)
