"""Answers to a client that may go away: as server-sent events, or as one object."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from .errors import api_error
from .job import Event, Job
from .worker import Worker

Lines = Callable[[Event], list[Any]]
"""What the client is sent for an event: objects, one a line."""


def data_line(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


async def _watch(receive: Receive, gone: Callable[[], object]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone()


class JobStream(Response):
    """A job's events as server-sent events. Its first error is a response of its own; a later one is an event.

    A client that goes away stops the job, at whatever point it is.
    """

    def __init__(self, worker: Worker[Any], job: Job, lines: Lines) -> None:
        self.worker, self.job, self.lines = worker, job, lines
        self.status_code = 200
        self.background = None
        self.media_type = "text/event-stream"
        self.body = b""
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        events = self.job.events()
        watcher = asyncio.create_task(_watch(receive, lambda: self.worker.drop(self.job)))
        try:
            first = await self._next(events)
            if first.kind == "error":
                await api_error(first.value).response()(scope, receive, send)
                return
            headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
            await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
            await self._send(send, first)
            async for event in events:
                await self._send(send, event)
            await send({"type": "http.response.body", "body": DONE, "more_body": False})
        finally:
            self.worker.drop(self.job)
            watcher.cancel()

    async def _next(self, events: AsyncIterator[Event]) -> Event:
        """The first event; that is none which says nothing to the client."""
        async for event in events:
            if event.kind in ("error", "result") or self.lines(event):
                return event
        raise AssertionError("a job ends with a result or an error")

    async def _send(self, send: Send, event: Event) -> None:
        values = [api_error(event.value).body()] if event.kind == "error" else self.lines(event)
        if values:
            body = b"".join(map(data_line, values))
            await send({"type": "http.response.body", "body": body, "more_body": True})


async def result_of(worker: Worker[Any], job: Job, request: Request) -> Any:
    """The result of a job, for a client that gets it at once; APIError or what the job raised."""
    watcher = asyncio.create_task(_watch(request.receive, lambda: worker.drop(job)))
    try:
        async for event in job.events():
            if event.kind == "error":
                raise api_error(event.value)
            if event.kind == "result":
                return event.value
    finally:
        worker.drop(job)
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
    raise AssertionError("a job ends with a result or an error")


def json_response(value: Any) -> Response:
    return JSONResponse(value)
