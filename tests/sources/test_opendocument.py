"""ODS and ODP files, which are built here as LibreOffice saves them."""

from __future__ import annotations

from office_files import odp_bytes, ods_bytes

from asl_llamacpp.sources.content import read_bytes


def cell(text: str, more: str = "") -> str:
    return f"<table:table-cell{more}><text:p>{text}</text:p></table:table-cell>"


def row(*cells: str, more: str = "") -> str:
    return f"<table:table-row{more}>{''.join(cells)}</table:table-row>"


def sheet(name: str, *rows: str, more: str = "", columns: str = "") -> str:
    return f'<table:table table:name="{name}"{more}>{columns}{"".join(rows)}</table:table>'


def read(*sheets: str, automatic: str = "") -> tuple[str, tuple[str, ...]]:
    source = read_bytes(ods_bytes("".join(sheets), automatic), "a.ods")
    return source.text, source.warnings


FILTERED = ' table:visibility="filter"'
TWICE = ' table:number-rows-repeated="2"'
TO_THE_END = row(
    '<table:table-cell table:number-columns-repeated="16384"/>', more=' table:number-rows-repeated="1048573"'
)


def test_cells_are_as_they_are_shown() -> None:
    text, warnings = read(
        sheet(
            "Prices",
            row(cell("Item"), cell("Price"), cell("Since"), cell("Share"), cell("Sure")),
            row(
                cell("Bolt"),
                cell("3.00 €", ' office:value-type="currency" office:value="3"'),
                cell("29.02.24", ' office:value-type="date" office:date-value="2024-02-29"'),
                cell("12.5%", ' office:value-type="percentage" office:value="0.125"'),
                cell("TRUE", ' office:value-type="boolean" office:boolean-value="true"'),
                '<table:table-cell table:number-columns-repeated="16379"/>',
            ),
            row(cell("Nut"), '<table:table-cell table:number-columns-repeated="3"/>', cell("FALSE")),
            TO_THE_END,
        )
    )
    assert text == (
        "# Prices\n\n| Item | Price | Since | Share | Sure |\n| --- | --- | --- | --- | --- |\n"
        "| Bolt | 3.00 € | 2024-02-29 | 12.5% | TRUE |\n| Nut | | | | FALSE |"
    )
    assert warnings == ()


def test_rows_and_cells_that_come_again_groups_and_gaps() -> None:
    again = cell("x", ' table:number-columns-repeated="2"')
    text, _ = read(
        sheet(
            "S",
            f"<table:table-header-rows>{row(cell('a'), cell('b'))}</table:table-header-rows>",
            "<table:table-row-group>" + row(again, more=TWICE) + "</table:table-row-group>",
            row("<table:table-cell/>", more=' table:number-rows-repeated="3"'),
            row(cell("alone")),
        )
    )
    assert text == "# S\n\n| a | b |\n| --- | --- |\n| x | x |\n| x | x |\n\nalone"


def test_what_comes_again_too_often_is_told() -> None:
    text, (warning,) = read(sheet("S", row(cell("x"), more=' table:number-rows-repeated="100000"')))
    assert text.count("x") == 1000 and warning.startswith("a row or cell of 'S' comes more than 1,000 times")


def test_merged_cells() -> None:
    covered = "<table:covered-table-cell/>"
    text, _ = read(
        sheet(
            "S",
            row(cell("Region"), cell("Product"), cell("Units")),
            row(cell("EU", ' table:number-rows-spanned="2"'), cell("Cable"), cell("12")),
            row(covered, cell("Hub"), cell("7")),
        )
    )
    assert text.endswith("| EU | Cable | 12 |\n| EU | Hub | 7 |")


def test_what_is_hidden_is_left_out_and_named() -> None:
    hidden = '<style:style style:name="T"><style:table-properties table:display="false"/></style:style>'
    columns = '<table:table-column/><table:table-column table:visibility="collapse"/>'
    text, warnings = read(
        sheet("Secret", row(cell("no")), more=' table:style-name="T"'),
        sheet(
            "S", row(cell("seen"), cell("column")), row(cell("row"), more=' table:visibility="filter"'), columns=columns
        ),
        automatic=hidden,
    )
    assert text == "# S\n\nseen"
    assert warnings == (
        "the sheet 'Secret' is hidden, and was left out",
        "2 cells in hidden rows and columns of 'S' were left out",
    )


def test_comments_formulas_and_pictures() -> None:
    note = "<office:annotation><text:p>Ask Ann</text:p><text:p>first</text:p></office:annotation>"
    frame = "<draw:frame><draw:object/><draw:image/></draw:frame>"
    text, warnings = read(
        sheet(
            "S",
            row(f"<table:table-cell>{note}<text:p>12</text:p></table:table-cell>"),
            row("<table:table-cell/>", '<table:table-cell table:formula="of:=1+1"/>'),
            row(cell("7", ' table:formula="of:=3+4" office:value-type="float" office:value="7"')),
            row(f"<table:table-cell>{frame}</table:table-cell>"),
        )
    )
    assert text == "# S\n\n12\n\n7\n\nComment on A1: Ask Ann first"
    assert warnings == (
        "formulas of 'S' have no saved value (B2): save the file with a spreadsheet program",
        "1 chart was not read",
    )


def frame(y: str, body: str, more: str = "", x: str = "0cm") -> str:
    return f'<draw:frame svg:x="{x}" svg:y="{y}"{more}>{body}</draw:frame>'


def box(text: str) -> str:
    return f"<draw:text-box><text:p>{text}</text:p></draw:text-box>"


def test_slides() -> None:
    hidden = (
        '<style:style style:name="H"><style:drawing-page-properties presentation:visibility="hidden"/></style:style>'
    )
    table = f"<table:table>{row(cell('a'), cell('b'))}{row(cell('1'), cell('2'))}</table:table><draw:image/>"
    bullets = (
        "<draw:text-box><text:list><text:list-item><text:p>one</text:p></text:list-item></text:list></draw:text-box>"
    )
    notes = f"<presentation:notes>{frame('1cm', box('Say more'))}</presentation:notes>"
    slides = (
        "<draw:page>"
        + frame("12cm", table)
        + '<draw:g><draw:custom-shape svg:y="50mm"><text:p>shape</text:p></draw:custom-shape></draw:g>'
        + frame("9cm", bullets)
        + frame("0cm", box("foot"), ' presentation:class="footer"')
        + frame("1in", box("The title"), ' presentation:class="title"')
        + frame("9cm", "<draw:image/>", x="3cm")
        + notes
        + '</draw:page><draw:page draw:style-name="H">'
        + frame("1cm", box("unseen"))
        + "</draw:page><draw:page>"
        + frame("1cm", box("no title"))
        + "<office:annotation><text:p>check</text:p></office:annotation></draw:page>"
    )
    source = read_bytes(odp_bytes(slides, hidden), "a.odp")
    assert source.text == (
        "# The title\n\nshape\n\n- one\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\nNotes: Say more\n\n"
        "# Slide 3\n\nno title\n\nComment: check"
    )
    assert source.warnings == (
        "slide 1 has a picture or diagram, not read",
        "slide 2 is hidden, and was left out",
    )
    assert source.n_pages == 3 and source.place(source.text.index("no title")) == (3, "Slide 3")
