"""Where a passage stands on its pages: a rectangle a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rect: TypeAlias = tuple[float, float, float, float]
"""x0, y0, x1, y1 on a page as it is displayed, points; the origin is at the top left."""

_SAME_LINE = 0.5  # of the smaller height
_SAME_PIECE = 2.0  # times the height: a wider gap is not covered


def line_rects(
    char_rects: NDArray[np.float32], page_of: Callable[[int], int | None], start: int, end: int
) -> list[tuple[int, Rect]]:
    """See `Source.rects`; `char_rects` is float32 [n, 4]."""
    start, end = max(start, 0), min(end, len(char_rects))
    painted = [at for at in range(start, end) if not np.isnan(char_rects[at, 0])]
    found = []
    for page, offsets in groupby(painted, key=page_of):
        found += [(page or 1, rect) for rect in _lines(char_rects[list(offsets)].tolist())]
    return found


def _lines(rects: list[list[float]]) -> Iterator[Rect]:
    line: list[float] = []
    for rect in rects:
        if line and _goes_on(line, rect):
            line = [*map(min, line[:2], rect[:2]), *map(max, line[2:], rect[2:])]
            continue
        if line:
            yield line[0], line[1], line[2], line[3]
        line = rect
    if line:
        yield line[0], line[1], line[2], line[3]


def _goes_on(line: list[float], rect: list[float]) -> bool:
    """Whether a character is beside those of a line: in either direction, or above where the line runs up the page."""
    width, height = rect[2] - rect[0], rect[3] - rect[1]
    for low, high in ((0, 1), (1, 0)):
        shared = min(line[high + 2], rect[high + 2]) - max(line[high], rect[high])
        apart = max(rect[low] - line[low + 2], line[low] - rect[low + 2])
        if shared > _SAME_LINE * min(line[high + 2] - line[high], rect[high + 2] - rect[high]):
            return apart <= _SAME_PIECE * max(width, height) if low == 0 else apart <= 0.2 * max(width, height)
    return False
