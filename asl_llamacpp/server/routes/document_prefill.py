"""POST /v1/documents/{id}/prefill: what every question needs, before the first one is asked."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from .. import progress
from ..asking import read_ahead
from ..house import House, client_of, house
from ..job import Event, Job
from ..streams import JobStream

router = APIRouter(prefix="/v1/documents")


@router.post("/{document}/prefill", response_model=None)
async def prefill(document: str, request: Request, at: Annotated[House, Depends(house)]) -> Response:
    """Run the document through the layers that every question needs; a stream that tells how far it is.

    A client that goes away stops it; the layers that are done are kept.
    """
    await at.library.until_read(document)
    await run_in_threadpool(at.library.ready, document)
    job = Job(client_of(request, None), partial(read_ahead, document=document), True)
    at.worker.submit(job)
    return JobStream(at.worker, job, partial(_lines, at, document))


def _lines(at: House, document: str, event: Event) -> list[Any]:
    if event.kind == "queue":
        return [{"prompt_progress": progress.waiting(event.value)}]
    if event.kind == "progress":
        return [{"prompt_progress": event.value}]
    return [{"document": at.document(document)}]
