"""GET /v1/documents/{id}/text: what the model sees of a document."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from ...sources import Source
from ..house import House, house

router = APIRouter(prefix="/v1/documents")


@router.get("/{document}/text")
def text(document: str, at: Annotated[House, Depends(house)]) -> dict[str, Any]:
    """The text, with its pages and sections. Offsets count Unicode code points. Waits until it is read."""
    source = at.library.source(document)
    return {"text": source.text, "pages": _pages(source), "sections": _sections(source)}


def _pages(source: Source) -> list[dict[str, Any]]:
    starts: dict[int, int] = {}
    for mark in source.marks:
        if mark.page is not None:
            starts.setdefault(mark.page, mark.start)
    ends = [*list(starts.values())[1:], len(source.text)]
    return [
        {"number": page, "label": str(page), "start": start, "end": end}
        for (page, start), end in zip(starts.items(), ends, strict=False)
    ]


def _sections(source: Source) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for mark in source.marks:
        if found and found[-1]["title"] == mark.section:
            continue
        if found:
            found[-1]["end"] = mark.start
        found.append({"title": mark.section, "level": 1, "start": mark.start, "end": len(source.text)})
    return [section for section in found if section["title"]]
