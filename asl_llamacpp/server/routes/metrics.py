"""GET /metrics: counters for Prometheus."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from ..house import House, house

router = APIRouter()


@router.get("/metrics", response_class=Response)
def metrics(at: Annotated[House, Depends(house)]) -> Response:
    """Tokens, seconds, bytes and the queue, in Prometheus' text form."""
    return Response(at.metrics.text(), media_type=CONTENT_TYPE_LATEST)
