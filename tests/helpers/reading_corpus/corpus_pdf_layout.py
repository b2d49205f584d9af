"""PDF: columns, tables, hyphens, running heads, paragraphs."""

from __future__ import annotations

from typing import Any

from made_pdfs import BOLD, both, lines, made_pdf
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Paragraph, Table, TableStyle

from .case import Case

LEFT = (
    "The river runs past the old",
    "mill, and a lantern hangs",
    "over the door of the inn.",
    "Nobody expects rain here,",
    "and the miller sleeps late.",
    "His wife keeps the accounts.",
)
RIGHT = (
    "The baker sings early each",
    "morning while his bread is",
    "in the oven. It is famous in",
    "all of the valley and beyond",
    "it, as far as the second",
    "bridge and the big market.",
)
PROSE = (
    "This contract is made between the mill and the inn. It is valid in all of the valley. Either side may end the "
    "contract on the last day of a month, three months ahead. It costs forty coins, which are due in June."
)
MORE_PROSE = (
    "The second part tells who repairs the wheel. The miller pays for the wood, and the innkeeper for the work of "
    "the carpenter. What is not said here is decided by the mayor of the town."
)


def columns(row_by_row: bool, title: str = "") -> bytes:
    def paint(canvas: Any) -> None:
        if title:
            canvas.setFont(BOLD, 16)
            canvas.drawString(60, 760, title)
            canvas.setFont("DejaVu", 12)
        at = [(60, 720 - 15 * k, text) for k, text in enumerate(LEFT)]
        at += [(320, 720 - 15 * k, text) for k, text in enumerate(RIGHT)]
        for x, y, text in sorted(at, key=lambda one: -one[1]) if row_by_row else at:
            canvas.drawString(x, y, text)

    return made_pdf(paint)


def columns_out_of_step() -> bytes:
    """The right column's lines stand between those of the left one."""
    return made_pdf(both(lines(*RIGHT, x=320, y=713), lines(*LEFT, x=60, y=720)))


def three_columns() -> bytes:
    def paint(canvas: Any) -> None:
        style = ParagraphStyle("s", fontName="DejaVu", fontSize=9, leading=11, alignment=4)
        for x in (40, 220, 400):
            paragraph = Paragraph(f"Column {x}. {MORE_PROSE}", style)
            _, height = paragraph.wrap(150, 700)
            paragraph.drawOn(canvas, x, 740 - height)

    return made_pdf(paint)


def paragraphs() -> bytes:
    def paint(canvas: Any) -> None:
        style = ParagraphStyle("s", fontName="DejaVu", fontSize=11, leading=14)
        y = 740.0
        for text in (PROSE, MORE_PROSE):
            paragraph = Paragraph(text, style)
            _, height = paragraph.wrap(400, 700)
            paragraph.drawOn(canvas, 60, y - height)
            y -= height + 14

    return made_pdf(paint)


def table(rows: list[list[str]], drawn: bool, narrow: bool = False, spans: tuple[Any, ...] = ()) -> bytes:
    def paint(canvas: Any) -> None:
        canvas.drawString(60, 770, "The prices of this year are in the following table, which is valid until June.")
        style = [("FONT", (0, 0), (-1, -1), "DejaVu", 10), ("VALIGN", (0, 0), (-1, -1), "TOP")]
        style += [("GRID", (0, 0), (-1, -1), 0.5, "black")] if drawn else []
        style += [("SPAN", *span) for span in spans]
        shown: list[list[Any]] = list(rows)
        if narrow:
            cell = ParagraphStyle("c", fontName="DejaVu", fontSize=10, leading=12)
            shown = [[Paragraph(text, cell) for text in row] for row in rows]
        made = Table(shown, colWidths=[120] * len(rows[0]), style=TableStyle(style))
        _, height = made.wrap(400, 700)
        made.drawOn(canvas, 60, 750 - height)
        canvas.drawString(60, 730 - height, "All prices are in coins, and without the tax.")

    return made_pdf(paint)


def around(rows: list[list[str]]) -> str:
    cells = " ".join(" ".join(row) for row in rows)
    before = "The prices of this year are in the following table, which is valid until June."
    return f"{before} {cells} All prices are in coins, and without the tax."


FULL = [["Item", "Weight", "Price"], ["Bolt", "12 g", "3"], ["Nut", "7 g", "2"], ["Washer", "1 g", "1"]]
GAPS = [["Item", "2030", "2031", "2032"], ["Bolt", "3", "", "5"], ["Nut", "", "2", ""], ["Washer", "1", "", ""]]
LONG = [
    ["Part", "What it is for", "Who pays"],
    ["Wheel", "It drives the stones of the mill, day and night.", "the miller"],
    ["Door", "It keeps the cold out of the inn in winter.", "the innkeeper of the inn"],
]


def hyphens() -> bytes:
    return made_pdf(
        lines(
            "The well-known committee has decided that the com-",
            "mittee meets twice a year. Its mem-",
            "bers are well-",
            "known in the town, and so are the pre- and post-",
            "war protocols of the Anglo-",
            "Saxon society and the rules of 2030-",
            "31, which nobody reads in full any more.",
        )
    )


def german_hyphens() -> bytes:
    return made_pdf(
        lines(
            "Die Überführungskosten trägt nach dem Ver-",
            "trag der Käufer; für die Haupt-",
            "und Nebenkosten gilt das nicht.",
        )
    )


def heads(n: int = 5) -> bytes:
    def sheet(number: int) -> Any:
        def paint(canvas: Any) -> None:
            canvas.drawString(60, 780, "ACME Ltd. General Terms")
            canvas.drawString(60, 700, f"Clause {10 * number} says what is due in part {number}.")
            canvas.drawString(
                60, 680, f"It is valid for the {('first', 'second', 'third', 'fourth', 'last')[number]} year."
            )
            canvas.drawString(280, 30, f"Page {number + 1} of {n}")

        return paint

    return made_pdf(*(sheet(number) for number in range(n)))


YEARS = ("first", "second", "third", "fourth", "last")
BODIES = tuple(f"Clause {10 * k} says what is due in part {k}. It is valid for the {YEARS[k]} year." for k in range(5))


def bullets() -> bytes:
    def paint(canvas: Any) -> None:
        canvas.drawString(60, 740, "Bring these things:")
        for number, text in enumerate(("a rope of twenty metres", "two lamps", "bread")):
            canvas.drawString(70, 720 - 15 * number, "•")
            canvas.drawString(90, 720 - 15 * number, text)

    return made_pdf(paint)


def rows_of(table: list[list[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(row) for row in table)


def contents() -> bytes:
    """Words set apart without spaces in the file, and dots up to the number of the page."""

    def paint(canvas: Any) -> None:
        for number, (title, page) in enumerate((("Simple parsing", "4"), ("Library notes", "5"))):
            x = 60.0
            for word in title.split():
                canvas.drawString(x, 700 - 15 * number, word)
                x += canvas.stringWidth(word, "DejaVu", 12) + 3.5
            for _ in range(40):
                canvas.drawString(x, 700 - 15 * number, ".")
                x += 7
            canvas.drawString(x + 4, 700 - 15 * number, page)

    return made_pdf(paint)


BOTH = " ".join([*LEFT, *RIGHT])
LAYOUT = (
    Case("columns.pdf", lambda: columns(False), BOTH),
    Case("columns-row-by-row.pdf", lambda: columns(True), BOTH),
    Case(
        "columns-with-title.pdf",
        lambda: columns(True, "A Valley and Its People, Described"),
        f"A Valley and Its People, Described {BOTH}",
    ),
    Case("columns-out-of-step.pdf", columns_out_of_step, BOTH),
    Case("three-columns.pdf", three_columns, " ".join(f"Column {x}. {MORE_PROSE}" for x in (40, 220, 400))),
    Case("paragraphs.pdf", paragraphs, f"{PROSE} {MORE_PROSE}"),
    Case("table-drawn.pdf", lambda: table(FULL, True), around(FULL), rows=rows_of(FULL)),
    Case("table-plain.pdf", lambda: table(FULL, False), around(FULL), rows=rows_of(FULL)),
    Case("table-empty-cells-drawn.pdf", lambda: table(GAPS, True), around(GAPS), rows=rows_of(GAPS)),
    Case("table-empty-cells-plain.pdf", lambda: table(GAPS, False), around(GAPS), rows=rows_of(GAPS)),
    Case("table-long-cells.pdf", lambda: table(LONG, True, True), around(LONG), rows=rows_of(LONG)),
    Case(
        "hyphens.pdf",
        hyphens,
        "The well-known committee has decided that the committee meets twice a year. Its members are well-known in the town, and so are the pre- and postwar protocols of the Anglo-Saxon society and the rules of 2030-31, which nobody reads in full any more.",
    ),
    Case(
        "german-hyphens.pdf",
        german_hyphens,
        "Die Überführungskosten trägt nach dem Vertrag der Käufer; für die Haupt- und Nebenkosten gilt das nicht.",
    ),
    Case("running-heads.pdf", heads, f"ACME Ltd. General Terms {BODIES[0]} Page 1 of 5 {' '.join(BODIES[1:])}"),
    Case("contents.pdf", contents, f"Simple parsing {'.' * 40} 4 Library notes {'.' * 40} 5"),
    Case("bullets.pdf", bullets, "Bring these things: a rope of twenty metres two lamps bread"),
)
