"""PDF by another program than reportlab."""

from __future__ import annotations

from fpdf import FPDF
from made_pdfs import FONT_FILE

from .case import Case
from .corpus_pdf_layout import FULL, MORE_PROSE, PROSE, rows_of


def new() -> FPDF:
    pdf = FPDF(format=(210, 280))
    pdf.add_font("D", fname=str(FONT_FILE))
    pdf.add_font("D", style="B", fname=str(FONT_FILE))
    pdf.set_font("D", size=11)
    return pdf


def justified() -> bytes:
    pdf = new()
    pdf.add_page()
    pdf.multi_cell(0, text=PROSE, align="J")
    pdf.ln(6)
    pdf.multi_cell(0, text=MORE_PROSE, align="J")
    return bytes(pdf.output())


def many_pages() -> bytes:
    pdf = new()
    for number in range(1, 4):
        pdf.add_page()
        pdf.multi_cell(0, text=f"{number * 7} mills. {PROSE}")
    return bytes(pdf.output())


def with_table() -> bytes:
    pdf = new()
    pdf.add_page()
    with pdf.table() as table:
        for row in FULL:
            table.row(row)
    return bytes(pdf.output())


def core_font() -> bytes:
    """A font that is not in the file, with Windows' encoding."""
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("Helvetica", size=12)
    pdf.cell(text="Größe: 5 m², gültig für Köln", new_x="LMARGIN", new_y="NEXT")
    return bytes(pdf.output())


PAGES = tuple(f"{number * 7} mills. {PROSE}" for number in range(1, 4))
MORE = (
    Case("justified.pdf", justified, f"{PROSE} {MORE_PROSE}"),
    Case("three-pages.pdf", many_pages, " ".join(PAGES), PAGES),
    Case("table-of-fpdf.pdf", with_table, " ".join(" ".join(row) for row in FULL), rows=rows_of(FULL)),
    Case("core-font.pdf", core_font, "Größe: 5 m², gültig für Köln"),
)
