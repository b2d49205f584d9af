"""GET /v1/models: the one model."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from ..errors import NOT_FOUND, APIError
from ..house import House, house

router = APIRouter()


@router.get("/v1/models")
async def models(at: Annotated[House, Depends(house)]) -> dict[str, Any]:
    """The model that is served; any name is taken for it in a request."""
    return {"object": "list", "data": [_model(at)]}


@router.get("/v1/models/{model}")
async def model(model: str, at: Annotated[House, Depends(house)]) -> dict[str, Any]:
    """The model that is served, by its name."""
    if model != at.model_name:
        raise APIError(404, f"no such model: {model!r}; there is {at.model_name}", NOT_FOUND, code="model_not_found")
    return _model(at)


def _model(at: House) -> dict[str, Any]:
    created = int(at.model.path.stat().st_mtime) if at.model.path.exists() else 0
    meta = {**at.facts, "max_tokens": at.settings.max_tokens}
    return {"id": at.model_name, "object": "model", "created": created, "owned_by": "asl-llamacpp", "meta": meta}
