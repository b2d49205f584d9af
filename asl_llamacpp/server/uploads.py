"""Files that come in."""

from __future__ import annotations

from fastapi import UploadFile
from starlette.concurrency import run_in_threadpool

from .errors import APIError
from .house import House
from .record import Record


async def keep_upload(at: House, file: UploadFile) -> Record:
    """Keep it as a document. APIError if it is empty, or there is no room."""
    data = await file.read()
    if not data:
        raise APIError(400, f"{file.filename or 'a file'} is empty", param="files", code="empty_file")
    room = at.settings.store_limit - at.library.n_bytes
    if len(data) > room:
        message = (
            f"{file.filename} has {len(data):,} bytes, but the server has room for {max(room, 0):,}: delete documents"
        )
        raise APIError(413, message, param="files", code="no_room")
    return await run_in_threadpool(at.library.add, data, file.filename)
