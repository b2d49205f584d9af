"""GET / and /static: the page."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parents[1] / "static"

router = APIRouter()
static = StaticFiles(directory=STATIC)


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The page to ask documents in."""
    return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})
