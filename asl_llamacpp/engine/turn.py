"""A context works for one caller at a time: calls wait for their turn, and a stream holds it until it is closed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

Y = TypeVar("Y")
S = TypeVar("S")
R = TypeVar("R")

_PATIENCE = 0.2
"""Seconds after which a waiting thread looks again, so that nothing hangs on a wake-up that was missed."""


@dataclass(eq=False)
class _StreamKey:
    """Stands for a stream that has the turn: the stream itself, were it held here, would never be forgotten."""

    shared: bool


class Turn:
    """Who uses the context: a call, for as long as it runs, or a stream, from its first piece until it is closed.

    Threads come in the order in which they asked. What a thread calls within its own turn, as from `on_progress`,
    belongs to that turn.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holder: object | None = None
        self._running: threading.Thread | None = None
        self._last: threading.Thread | None = None
        self._depth = 0
        self._waiting: deque[object] = deque()

    @contextmanager
    def hold(self, beside: bool = False) -> Iterator[None]:
        """Wait for the turn, and have it within the block.

        beside: what is done evaluates nothing that a stream would miss, so that it may be done between two pieces of
            this thread's own stream.

        Raises:
            RuntimeError: this thread has a stream open, and would wait for itself.
        """
        call = object()
        self._enter(call, beside)
        try:
            yield
        finally:
            self._leave(call)

    def poll(self, read: Callable[[], Y], otherwise: Y) -> Y:
        """What `read` says if no other thread has the turn, else `otherwise`: never waits."""
        me, call = threading.current_thread(), object()
        with self._changed:
            if self._holder is not None and me not in (self._running, self._last):
                return otherwise
            if self._running not in (None, me):
                return otherwise
            self._enter(call, beside=True, at_once=True)
        try:
            return read()
        finally:
            self._leave(call)

    def stream(self, pieces: Generator[Y, S, R], shared: bool = False) -> Stream[Y, S, R]:
        """`pieces`, with the turn from the first one on. shared: this thread may evaluate something else meanwhile."""
        return Stream(self, pieces, shared)

    def _enter(self, who: object, beside: bool = False, at_once: bool = False) -> None:
        me = threading.current_thread()
        with self._changed:
            if self._running is me:
                self._depth += 1
                return
            if not (at_once or self._may_begin(who, me, beside)):
                self._wait(who)
            if self._holder is None:
                self._holder = who
            if self._holder is who or self._last is None:
                self._last = me
            self._running, self._depth = me, 1

    def _may_begin(self, who: object, me: threading.Thread, beside: bool) -> bool:
        """Whether the turn that is taken already is this caller's own, and nobody is running in it."""
        holder = self._holder
        if holder is None or self._running is not None:
            return False
        if holder is who:
            return True
        if self._last is not me or not isinstance(holder, _StreamKey):
            return False
        if beside or holder.shared:
            return True
        raise RuntimeError(
            "this thread has an answer's stream open, for which the call would wait forever: go through the stream to "
            "its end, or close() it"
        )

    def _wait(self, who: object) -> None:
        place = object()
        self._waiting.append(place)
        try:
            while True:
                if self._holder is who:
                    if self._running is None:
                        return
                elif self._holder is None and self._waiting[0] is place:
                    return
                self._changed.wait(_PATIENCE)
        finally:
            self._waiting.remove(place)
            self._changed.notify_all()

    def _leave(self, who: object, keep: bool = False) -> None:
        with self._changed:
            self._depth -= 1
            if self._depth > 0:
                return
            self._running = None
            if self._holder is who and not keep:
                self._holder = self._last = None
            self._changed.notify_all()

    def _holds(self, who: object) -> bool:
        return self._holder is who


class Stream(Generator[Y, S, R]):
    """A generator that has the turn from its first piece until it ends, is closed, or is forgotten."""

    def __init__(self, turn: Turn, pieces: Generator[Y, S, R], shared: bool) -> None:
        self._turn, self._pieces, self._key = turn, pieces, _StreamKey(shared)

    def send(self, value: S) -> Y:
        return self._step(lambda: self._pieces.send(value))

    def throw(self, *error: Any) -> Y:
        return self._step(lambda: self._pieces.throw(*error))

    def _step(self, step: Callable[[], Y]) -> Y:
        self._turn._enter(self._key)
        going_on = False
        try:
            piece = step()
            going_on = True
        finally:
            self._turn._leave(self._key, keep=going_on)
        return piece

    def close(self) -> None:
        """End it here, and let the next one have its turn."""
        if not self._turn._holds(self._key):  # it had not begun, or runs within another one's turn
            self._pieces.close()
            return
        self._turn._enter(self._key)
        try:
            self._pieces.close()
        finally:
            self._turn._leave(self._key)

    def __del__(self) -> None:
        self.close()
