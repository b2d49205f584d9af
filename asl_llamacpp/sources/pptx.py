"""PPTX files: what PowerPoint, LibreOffice and others save. Each slide is a page and a section."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .archive import open_archive
from .cell_text import cell_text
from .formats import Format
from .office_parts import checked_parts
from .pieces import Pieces
from .reading import Reading
from .source import Source

if TYPE_CHECKING:
    from zipfile import ZipFile

_AS_IS = Reading()
_MOST_POINTS = 10_000


def is_pptx(archive: ZipFile) -> bool:
    """Whether an archive is a PPTX file."""
    return "ppt/presentation.xml" in archive.namelist()


def read_pptx(data: bytes, name: str, reading: Reading = _AS_IS) -> Source:
    """The slides: title, texts and tables from top to bottom, values of charts, notes of the speaker.

    Hidden slides have a page, but their text is left out and they are named; so are pictures. Page labels are the
    numbers that are printed on slides, where they do not begin at 1. Raises ValueError for a file that is broken,
    locked or too large.
    """
    import pptx

    pieces = Pieces()
    with open_archive(data, name, "a PPTX") as archive:
        deck = pptx.Presentation(checked_parts(archive, name))
        slides = list(deck.slides)
        for number, slide in enumerate(slides, start=1):
            pieces.page()
            if slide._element.get("show") in ("0", "false"):
                pieces.warnings.append(f"slide {number} is hidden, and was left out")
            else:
                _add_slide(pieces, slide, number)
            reading.report(name, number, len(slides))
        first = int(deck.part._element.get("firstSlideNum", "1"))
    labels = tuple(str(first + index) for index in range(len(slides))) if first != 1 else ()
    return pieces.source(name, labels)


def _add_slide(pieces: Pieces, slide: Any, number: int) -> None:
    title = slide.shapes.title
    heading = title.text_frame.text if title is not None else ""
    pieces.heading(heading if heading.strip() else f"Slide {number}")
    n_pictures = 0
    for shape in _in_order(slide.shapes):
        if title is not None and shape.shape_id == title.shape_id:
            continue
        if getattr(shape, "has_table", False):
            pieces.table(_table(shape.table))
        elif getattr(shape, "has_chart", False):
            _add_chart(pieces, shape.chart)
        elif shape.has_text_frame:
            pieces.text(_text(shape))
        else:
            n_pictures += shape._element.tag.endswith(("}pic", "}graphicFrame"))
    if n_pictures:
        what = "a picture or diagram" if n_pictures == 1 else f"{n_pictures} pictures or diagrams"
        pieces.warnings.append(f"slide {number} has {what}, not read")
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        notes = slide.notes_slide.notes_text_frame.text.strip()
        if notes:
            pieces.text(f"Notes: {notes}")


def _in_order(shapes: Iterable[Any]) -> Iterator[Any]:
    """From top to bottom, those of groups in their group's place."""
    for shape in sorted(shapes, key=lambda one: (one.top or 0, one.left or 0)):
        if hasattr(shape, "shapes"):
            yield from _in_order(shape.shapes)
        else:
            yield shape


def _text(shape: Any) -> str:
    paragraphs = [(one.level, one.text.replace("\v", "\n").strip()) for one in shape.text_frame.paragraphs]
    paragraphs = [(level, text) for level, text in paragraphs if text]
    if shape.is_placeholder and len(paragraphs) > 1:
        return "\n".join("  " * level + "- " + text for level, text in paragraphs)
    return "\n".join(text for _, text in paragraphs)


def _table(table: Any) -> list[list[str]]:
    """A merged cell's text in each of its places."""
    n_rows, n_columns = len(table.rows), len(table.columns)
    grid = [["" for _ in range(n_columns)] for _ in range(n_rows)]
    for i in range(n_rows):
        for j in range(n_columns):
            cell = table.cell(i, j)
            if cell.is_spanned:
                continue
            down, across = (cell.span_height, cell.span_width) if cell.is_merge_origin else (1, 1)
            for row in grid[i : i + down]:
                row[j : j + across] = [cell.text] * len(row[j : j + across])
    return grid


def _add_chart(pieces: Pieces, chart: Any) -> None:
    counts = [str(one.get("val", "0")) for one in chart._chartSpace.iter("{*}ptCount")]
    if any(not count.isdecimal() or int(count) > _MOST_POINTS for count in counts):  # told, not counted
        pieces.warnings.append(f"a chart says that it has more than {_MOST_POINTS:,} points, and was not read")
        return
    if chart.has_title and chart.chart_title.has_text_frame:
        pieces.text(chart.chart_title.text_frame.text)
    for plot in chart.plots:
        series = list(plot.series)
        names = [str(category) for category in plot.categories]
        values = [[cell_text(value) for value in one.values] for one in series]
        rows = [[name, *(column[i] if i < len(column) else "" for column in values)] for i, name in enumerate(names)]
        pieces.table([["", *(str(one.name) for one in series)], *rows])


FORMAT = Format(lambda data, name: read_pptx(data, name), in_archive=is_pptx, read_with=read_pptx)
