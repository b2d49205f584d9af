"""/v1/documents/{id}/pages: pictures of pages, and the words on them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from ...sources import Source
from ...sources.pdf_pages import WIDEST
from ..errors import NOT_FOUND, APIError
from ..house import House, house
from ..record import Record

router = APIRouter(prefix="/v1/documents")

Page = Annotated[int, Path(ge=1, le=1 << 30, description="Counted from 1.")]


@router.get("/{document}/pages/{page}.png", response_class=Response)
async def picture(
    document: str,
    page: Page,
    at: Annotated[House, Depends(house)],
    width: Annotated[int, Query(ge=16, le=WIDEST, description="Pixels.")] = 1000,
) -> Response:
    """A page as a picture, for documents with `has_pictures`."""
    await at.library.until_read(document)
    record = await run_in_threadpool(_with_page, at, document, page)
    png = await run_in_threadpool(at.library.pictures.page, at.library.original(record.id), page, width)
    return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=86400"})


@router.get("/{document}/pages/{page}/layer")
async def layer(document: str, page: Page, at: Annotated[House, Depends(house)]) -> dict[str, Any]:
    """The words of a page, where they stand on it: points, the origin at the top left."""
    await at.library.until_read(document)
    return await run_in_threadpool(_layer, at, document, page)


def _layer(at: House, document: str, page: int) -> dict[str, Any]:
    record = _with_page(at, document, page)
    width, height = record.page_sizes[page - 1]
    return {"width": width, "height": height, "words": list(_words(at.library.source(document), page))}


def _with_page(at: House, document: str, page: int) -> Record:
    record = at.library.ready(document)
    if not record.page_sizes:
        message = f"{record.name} has no pictures of its pages: only PDF documents have"
        raise APIError(404, message, NOT_FOUND, code="no_pictures")
    if page > len(record.page_sizes):
        message = f"{record.name} has pages 1 to {len(record.page_sizes)}, but no page {page}"
        raise APIError(404, message, NOT_FOUND, param="page", code="page_not_found")
    return record


def _words(source: Source, page: int) -> Iterator[dict[str, Any]]:
    """One for each piece of a word that is on a line of its own."""
    pages = source.pages()
    start, end = pages[page - 1] if page <= len(pages) else (0, 0)
    for word in re.finditer(r"\S+", source.text[start:end]):
        begin, stop = start + word.start(), start + word.end()
        for _, rect in source.rects(begin, stop):
            yield {"text": word[0], "start": begin, "end": stop, "rect": [round(float(x), 2) for x in rect]}
