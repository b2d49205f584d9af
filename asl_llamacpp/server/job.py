"""One request for the model: what it is to do, who waits for it, and how it is stopped."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["queue", "progress", "chunk", "result", "error"]


@dataclass(frozen=True)
class Event:
    """What happened to a job. `value` of "queue" is the number of jobs before it, of "error" the exception."""

    kind: Kind
    value: Any


class Stopped(Exception):
    """Nobody waits for the job any more."""


class Job:
    """To be made within the event loop that reads `events`; `work` runs in the worker's thread.

    client  whose turn it takes in the queue
    waited  seconds in the queue, once it runs
    """

    def __init__(self, client: str, work: Callable[[Any, Job], Any], wants_progress: bool = False) -> None:
        self.client, self.work, self.wants_progress = client, work, wants_progress
        self.made = time.perf_counter()
        self.waited = 0.0
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._stopped = threading.Event()
        self._position = -1

    # ---- for the worker ---------------------------------------------------------------------------------------------

    def emit(self, kind: Kind, value: Any) -> None:
        """Tell who waits; from any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._events.put_nowait, Event(kind, value))

    def tell_position(self, position: int) -> None:
        if self.wants_progress and position != self._position:
            self._position = position
            self.emit("queue", position)

    def check(self) -> None:
        """Raises Stopped if nobody waits any more."""
        if self._stopped.is_set():
            raise Stopped

    # ---- for who waits ----------------------------------------------------------------------------------------------

    def stop(self) -> None:
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    async def events(self) -> AsyncIterator[Event]:
        """Until "result" or "error", which is the last one."""
        while True:
            event = await self._events.get()
            yield event
            if event.kind in ("result", "error"):
                return
