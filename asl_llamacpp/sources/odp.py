"""ODP files: presentations of LibreOffice, OpenOffice and others. Each slide is a page and a section."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from .formats import Format
from .markup import parse_html, render
from .odt_html import OdtHtml, local, tag_of
from .opendocument import has_type, open_document
from .pieces import Pieces
from .reading import Reading
from .source import Source

if TYPE_CHECKING:
    from zipfile import ZipFile

_AS_IS = Reading()
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_CENTIMETRES = {"mm": 0.1, "in": 2.54, "pt": 2.54 / 72, "pc": 2.54 / 6}
_UNREAD = ("image", "object", "object-ole", "plugin")
_NO_TEXT = {"notes", "forms", "annotation", "par", "animations"}
_PLACEHOLDERS = ("footer", "header", "date-time", "page-number")


def is_odp(archive: ZipFile) -> bool:
    """Whether an archive is an ODP file, or a drawing, which has pages too."""
    return has_type(archive, "presentation", "graphics")


def read_odp(data: bytes, name: str, reading: Reading = _AS_IS) -> Source:
    """The slides: title, texts and tables from top to bottom, comments, and notes of the speaker.

    Hidden slides have a page, but their text is left out and they are named; so are pictures and charts. Raises
    ValueError for a file that is broken, locked or too large.
    """
    pieces = Pieces()
    with open_document(data, name, "an ODP", "presentation", "drawing") as document:
        hidden = document.styles_with("drawing-page-properties", "visibility", "hidden")
        converter = OdtHtml(document.content, document.styles)
        slides = document.body.findall("{*}page")
        for number, slide in enumerate(slides, start=1):
            pieces.page()
            if local(slide, "style-name") in hidden:
                pieces.warnings.append(f"slide {number} is hidden, and was left out")
            else:
                _add_slide(pieces, slide, number, converter)
            reading.report(name, number, len(slides))
    return pieces.source(name)


def _add_slide(pieces: Pieces, slide: Element, number: int, converter: OdtHtml) -> None:
    shapes = list(_in_order(slide))
    titles = [shape for shape in shapes if local(shape, "class") == "title"]
    heading = " ".join(_text(pieces, converter, titles[0]).split()) if titles else ""
    pieces.heading(heading or f"Slide {number}")
    for shape in shapes:
        if shape not in titles[:1] and local(shape, "class") not in _PLACEHOLDERS:
            pieces.text(_text(pieces, converter, shape))
    n_pictures = sum(any(tag_of(part) in _UNREAD for part in shape) and not _has_table(shape) for shape in shapes)
    if n_pictures:
        what = "a picture or diagram" if n_pictures == 1 else f"{n_pictures} pictures or diagrams"
        pieces.warnings.append(f"slide {number} has {what}, not read")
    for comment in slide.iterfind("{*}annotation"):
        words = " ".join("".join(paragraph.itertext()) for paragraph in comment.iterfind("{*}p"))
        pieces.text("Comment: " + " ".join(words.split()))
    for notes in slide.iterfind("{*}notes"):
        said = "\n".join(filter(None, (_text(pieces, converter, frame) for frame in notes.iterfind("{*}frame"))))
        pieces.text(f"Notes: {said}" if said else "")


def _in_order(parent: Element) -> Iterator[Element]:
    """Shapes from top to bottom, those of groups in their group's place."""
    shapes = [child for child in parent if tag_of(child) not in _NO_TEXT]
    for shape in sorted(shapes, key=lambda one: (_at(one, "y"), _at(one, "x"))):
        if tag_of(shape) in ("g", "a"):
            yield from _in_order(shape)
        else:
            yield shape


def _at(shape: Element, axis: str) -> float:
    """Centimetres from the slide's edge, of a group those of its first part."""
    value = local(shape, axis)
    if not value and tag_of(shape) in ("g", "a"):
        return min((_at(child, axis) for child in shape if tag_of(child) not in _NO_TEXT), default=0.0)
    number = _NUMBER.match(value)
    return float(number[0]) * _CENTIMETRES.get(value[number.end() :], 1.0) if number else 0.0


def _has_table(shape: Element) -> bool:
    return shape.find("{*}table") is not None


def _text(pieces: Pieces, converter: OdtHtml, shape: Element) -> str:
    """The paragraphs, lists and tables of a shape."""
    box = shape.find("{*}text-box")
    page = render(parse_html(converter.html(shape if box is None else box)))
    pieces.warnings += page.warnings
    return page.text


FORMAT = Format(lambda data, name: read_odp(data, name), in_archive=is_odp, read_with=read_odp)
