"""Text in pictures, by RapidOCR, where the extra `ocr` is installed. Its model is in its wheel: nothing is fetched."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .layout.fragment import Fragment, Rect

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WIDTH = 1240
"""Pixels that a page is drawn with for OCR: 150 to the inch, if it is A4."""
_LONGEST_SIDE = 960  # pixels, where lines are looked for: half of the time goes there
_SURE = 0.7  # what is less likely than this is no text


def has_ocr() -> bool:
    """Whether OCR is installed."""
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


def recognised(
    pixels: NDArray[np.uint8], size: tuple[float, float], on_line: Callable[[], None] | None = None
) -> list[Fragment]:
    """The lines of text in the picture of a page, each with the places of its characters, shared out evenly.

    Args:
        pixels: uint8 [height, width, 3], red, green, blue.
        size: of the page, points: places are in those.
        on_line: is called when the model is there, when lines are found, and after each line: it takes seconds.
    """
    tell = on_line or (lambda: None)
    engine, picture = _engine(), pixels[:, :, ::-1].copy()
    tell()
    found = engine(picture, use_det=True, use_cls=False, use_rec=False)
    tell()
    if found.boxes is None or not len(found.boxes):
        return []
    across, down = size[0] / pixels.shape[1], size[1] / pixels.shape[0]
    lines = []
    for box, line in zip(found.boxes, engine.crop_text_regions(picture, found.boxes), strict=True):
        read = engine(line, use_det=False, use_cls=False, use_rec=True)
        text = " ".join(" ".join(read.txts or ()).split())
        if text and min(read.scores) > _SURE:
            xs, ys = box[:, 0] * across, box[:, 1] * down
            lines.append(_fragment(text, (float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max()))))
        tell()
    return lines


@cache
def _engine() -> Any:
    from rapidocr import RapidOCR

    params = {"Det.limit_type": "max", "Det.limit_side_len": _LONGEST_SIDE, "Global.log_level": "critical"}
    return RapidOCR(params=params)


def _fragment(text: str, box: Rect) -> Fragment:
    share = (box[2] - box[0]) / len(text)
    rects: list[Rect | None] = [
        None if char == " " else (box[0] + k * share, box[1], box[0] + (k + 1) * share, box[3])
        for k, char in enumerate(text)
    ]
    return Fragment(text, rects, box, 0.75 * (box[3] - box[1]))
