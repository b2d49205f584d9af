"""GET /health: whether the server can answer."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from ..house import House, house

router = APIRouter()


@router.get("/health")
async def health(at: Annotated[House, Depends(house)]) -> dict[str, Any]:
    """Whether the model is there, and how many requests wait for it or are being answered."""
    worker = at.worker
    n = len(worker.queue) + (worker.running is not None)
    error = None if worker.error is None else str(worker.error)
    return {"status": worker.status, "model": at.model_name, "queue": n, "error": error}
