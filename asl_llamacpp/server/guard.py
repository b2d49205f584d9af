"""Who may ask: checks of Host, Origin and key before any route, and the headers that every answer has."""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import INVALID, APIError
from .settings import ServerSettings

OPEN = ("/", "/health")
"""Paths without a key, beside /static/: the page has to ask for the key."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware. A browser is used against a local server in two ways, and both are refused here.

    A name of another site may be made to point to this machine (DNS rebinding): Host has that name. And a page of
    another site may post here: Origin, or Sec-Fetch-Site where there is none, says so.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app, self.settings = app, settings
        self._key = None if settings.api_key is None else settings.api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    added.setdefault(name, value)
                if origin in self.settings.origins:
                    added["Access-Control-Allow-Origin"] = str(origin)
                    added["Cross-Origin-Resource-Policy"] = "cross-origin"
                    added.add_vary_header("Origin")
            await send(message)

        try:
            self._check(scope, headers, origin)
        except APIError as error:
            response = error.response()
            if error.status == 401:
                response.headers["WWW-Authenticate"] = "Bearer"
            await response(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)

    def _check(self, scope: Scope, headers: Headers, origin: str | None) -> None:
        hosts = headers.getlist("host")
        host = hosts[0] if len(hosts) == 1 else ""
        if not self._is_ours(host):
            message = f"Host {host!r} is none of this server's names: start it with --allow-host, if it is one"
            raise APIError(403, message, INVALID, code="host_refused")
        if origin is None:
            fetched = headers.get("sec-fetch-site", "none") in ("none", "same-origin")
            entered = headers.get("sec-fetch-mode") == "navigate" and scope["path"] == "/"
            if not fetched and not entered:
                raise APIError(403, "another site's page asked", INVALID, code="origin_refused")
        elif origin not in self.settings.origins and urlsplit(origin).netloc.lower() != host.lower():
            message = f"Origin {origin!r} is another site: start the server with --allow-origin, if it may ask"
            raise APIError(403, message, INVALID, code="origin_refused")
        self._check_key(scope, headers)

    def _is_ours(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name in self.settings.hosts:
            return True
        if self.settings.any_address:
            try:
                ipaddress.ip_address(name.partition("%")[0])
            except ValueError:
                return False
            return True
        return False

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        if self._key is None or scope["path"] in OPEN or scope["path"].startswith("/static/"):
            return
        if scope["method"] == "OPTIONS":  # a browser asks before it sends the key
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._key):
            message = "a wrong API key, or none: send it as 'Authorization: Bearer KEY'"
            raise APIError(401, message, "authentication_error", code="invalid_api_key")
