"""/v1/files: documents in the form of OpenAI's files."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, UploadFile
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from ..house import House, house
from ..record import Record
from ..uploads import keep_upload

router = APIRouter(prefix="/v1/files")

_STATUS = {"reading": "uploaded", "ready": "processed", "failed": "error"}


@router.post("")
async def upload(
    file: Annotated[UploadFile, File()],
    at: Annotated[House, Depends(house)],
    purpose: Annotated[str, Form(max_length=64)] = "assistants",
) -> dict[str, Any]:
    """Keep a file as a document, whose id is the file's. Any purpose will do."""
    return _file(await keep_upload(at, file), purpose)


@router.get("")
def files(at: Annotated[House, Depends(house)]) -> dict[str, Any]:
    """All documents, the newest first."""
    return {"object": "list", "data": [_file(record) for record in at.library.all()], "has_more": False}


@router.get("/{document}")
def file(document: str, at: Annotated[House, Depends(house)]) -> dict[str, Any]:
    """One document."""
    return _file(at.library.get(document))


@router.get("/{document}/content", response_class=Response)
def content(document: str, at: Annotated[House, Depends(house)]) -> Response:
    """What was uploaded, to be saved: never shown as a page."""
    data = at.library.original(document).read_bytes()
    headers = {"Content-Disposition": "attachment", "Content-Security-Policy": "sandbox"}
    return Response(data, media_type="application/octet-stream", headers=headers)


@router.delete("/{document}")
async def delete(document: str, at: Annotated[House, Depends(house)]) -> dict[str, Any]:
    """Forget a document and all that was kept of it."""
    await run_in_threadpool(at.library.delete, document)
    return {"id": document, "object": "file", "deleted": True}


def _file(record: Record, purpose: str = "assistants") -> dict[str, Any]:
    return {
        "id": record.id,
        "object": "file",
        "bytes": record.n_bytes,
        "created_at": record.created_at,
        "filename": record.name,
        "purpose": purpose,
        "status": _STATUS[record.status],
        "status_details": record.error,
    }
