"""/v1/documents: upload, list, look at, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, UploadFile

from ..errors import APIError
from ..house import House, house
from ..uploads import keep_upload

router = APIRouter(prefix="/v1/documents")


@router.post("")
async def upload(files: Annotated[list[UploadFile], File()], at: Annotated[House, Depends(house)]) -> dict[str, Any]:
    """Keep files as documents. They are read in the background: see `status`."""
    if len(files) > at.settings.max_files:
        message = f"{len(files)} files, but at most {at.settings.max_files} at once"
        raise APIError(413, message, param="files", code="too_many_files")
    records = [await keep_upload(at, file) for file in files]
    return {"object": "list", "data": [at.document(record.id) for record in records]}


@router.get("")
def documents(at: Annotated[House, Depends(house)]) -> dict[str, Any]:
    """All documents, the newest first."""
    return {"object": "list", "data": [at.document(record.id) for record in at.library.all()]}


@router.get("/{document}")
def document(document: str, at: Annotated[House, Depends(house)]) -> dict[str, Any]:
    """One document."""
    return at.document(document)


@router.delete("/{document}")
def delete(document: str, at: Annotated[House, Depends(house)]) -> dict[str, Any]:
    """Forget a document and all that was kept of it."""
    at.library.delete(document)
    return {"id": document, "object": "document", "deleted": True}
