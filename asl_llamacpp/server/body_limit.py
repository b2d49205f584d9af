"""No request may bring more than so many bytes, whatever it says of itself."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import APIError
from .settings import ServerSettings

UPLOADS = ("/v1/documents", "/v1/files")


class BodyLimit:
    """ASGI middleware: 413 for a body that says it is too large, or turns out to be."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.settings.max_upload if scope["path"].rstrip("/") in UPLOADS else self.settings.max_body
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdigit() and int(announced) > limit:
            await _too_large(limit).response()(scope, receive, send)
            return
        n = 0

        async def counted() -> Message:
            nonlocal n
            message = await receive()
            n += len(message.get("body", b""))
            if n > limit:
                raise _too_large(limit)
            return message

        await self.app(scope, counted, send)


def _too_large(limit: int) -> APIError:
    return APIError(413, f"the request is larger than {limit:,} bytes: send less at once", code="too_large")
