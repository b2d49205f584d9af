"""What a page paints beside its text: lines, which tables are made of, and pictures, which may have text in them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .frame import PageFrame, Rect

if TYPE_CHECKING:
    from pypdfium2 import PdfPage

_MOST_OBJECTS = 20_000
_DEEPEST = 5
_THIN = 3.0  # points
_SHORTEST_RULE = 12.0
_SAME_HEIGHT = 1.5
_TOUCHING = 3.0


@dataclass
class Drawings:
    """rules     lines from left to right: height, and where each begins and ends; edges of boxes too
    pictures  rectangles of images
    n_paths   how many lines, curves and areas there are
    """

    rules: list[tuple[float, tuple[float, float]]] = field(default_factory=list)
    pictures: list[Rect] = field(default_factory=list)
    n_paths: int = 0


def page_drawings(page: PdfPage, frame: PageFrame) -> Drawings:
    """The drawings of a page, in places as displayed."""
    from pypdfium2 import raw

    found = Drawings()
    edges: list[tuple[float, float, float]] = []
    for number, (kind, box) in enumerate(_objects(page)):
        if number >= _MOST_OBJECTS:
            break
        if kind == raw.FPDF_PAGEOBJ_IMAGE:
            found.pictures.append(frame.displayed(*box))
        else:
            found.n_paths += 1
            x0, y0, x1, y1 = frame.displayed(*box)
            if x1 - x0 >= _SHORTEST_RULE:
                edges += [((y0 + y1) / 2, x0, x1)] if y1 - y0 < _THIN else [(y0, x0, x1), (y1, x0, x1)]
    found.rules = _joined(edges)
    return found


def _objects(page: PdfPage) -> Iterator[tuple[int, Rect]]:
    """Kind and bounds, in the page's coordinates, of paths and images; a form counts as the images that it has."""
    from pypdfium2 import raw

    bounds = [ctypes.c_float() for _ in range(4)]
    for i in range(raw.FPDFPage_CountObjects(page)):
        one = raw.FPDFPage_GetObject(page, i)
        kind = raw.FPDFPageObj_GetType(one)
        if kind == raw.FPDF_PAGEOBJ_FORM and _has_image(one, 0):
            kind = raw.FPDF_PAGEOBJ_IMAGE
        if kind not in (raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_IMAGE):
            continue
        if raw.FPDFPageObj_GetBounds(one, *bounds):
            left, bottom, right, top = (value.value for value in bounds)
            yield kind, (left, bottom, right, top)


def _has_image(form: Any, depth: int) -> bool:
    from pypdfium2 import raw

    for i in range(min(raw.FPDFFormObj_CountObjects(form), 1000)):
        one = raw.FPDFFormObj_GetObject(form, i)
        kind = raw.FPDFPageObj_GetType(one)
        if kind == raw.FPDF_PAGEOBJ_IMAGE:
            return True
        if kind == raw.FPDF_PAGEOBJ_FORM and depth < _DEEPEST and _has_image(one, depth + 1):
            return True
    return False


def _joined(edges: list[tuple[float, float, float]]) -> list[tuple[float, tuple[float, float]]]:
    """Edges at one height that touch, as one: tables are often drawn cell by cell."""
    lines: list[list[tuple[float, float, float]]] = []
    for edge in sorted(edges):
        if lines and edge[0] - lines[-1][0][0] <= _SAME_HEIGHT:
            lines[-1].append(edge)
        else:
            lines.append([edge])
    rules: list[tuple[float, tuple[float, float]]] = []
    for line in lines:
        start = end = None
        for y, x0, x1 in sorted(line, key=lambda edge: edge[1]):
            if start is None or end is None or x0 > end + _TOUCHING:
                if start is not None and end is not None:
                    rules.append((line[0][0], (start, end)))
                start, end = x0, x1
            else:
                end = max(end, x1)
            del y
        if start is not None and end is not None:
            rules.append((line[0][0], (start, end)))
    return rules
