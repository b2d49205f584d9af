"""GET /v1/documents/{id}/text: what the model sees of a document."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.concurrency import run_in_threadpool

from ...sources import Heading, Source
from ..facts import page_label
from ..house import House, house

router = APIRouter(prefix="/v1/documents")


@router.get("/{document}/text")
async def text(document: str, at: Annotated[House, Depends(house)]) -> dict[str, Any]:
    """The text, with its pages and sections. Offsets count Unicode code points. Waits until it is read."""
    await at.library.until_read(document)
    source = await run_in_threadpool(at.library.source, document)
    return {"text": source.text, "pages": _pages(source), "sections": _sections(source)}


def _pages(source: Source) -> list[dict[str, Any]]:
    if not source.n_pages:
        return []
    return [
        {"number": page, "label": page_label(source, page), "start": start, "end": end}
        for page, (start, end) in enumerate(source.pages(), 1)
    ]


def _sections(source: Source) -> list[dict[str, Any]]:
    found = source.headings or _of_marks(source)
    ends = [*(heading.start for heading in found[1:]), len(source.text)]
    return [
        {"title": heading.title, "level": heading.level, "start": heading.start, "end": end}
        for heading, end in zip(found, ends, strict=False)
    ]


def _of_marks(source: Source) -> tuple[Heading, ...]:
    found: list[Heading] = []
    for mark in source.marks:
        if mark.section and (not found or found[-1].title != mark.section):
            found.append(Heading(mark.start, mark.section))
    return tuple(found)
