"""A queue in which clients take turns, whoever asked for how much."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """First the oldest wish of each client, in the order in which they came, then the second oldest of each.

    All methods may be called from any thread.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, client: str, item: T) -> None:
        with self._changed:
            self._waiting.setdefault(client, deque()).append(item)
            self._changed.notify()

    def take(self) -> T | None:
        """The next one, waited for; its client goes to the end of the line. None: the queue was closed."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            client, items = self._waiting.popitem(last=False)
            item = items.popleft()
            if items:
                self._waiting[client] = items
            return item

    def remove(self, client: str, item: T) -> bool:
        """Take one out that nobody waits for any more; False: it is not there."""
        with self._changed:
            items = self._waiting.get(client)
            if items is None or item not in items:
                return False
            items.remove(item)
            if not items:
                del self._waiting[client]
            return True

    def order(self) -> list[T]:
        """All that wait, in the order in which `take` would give them."""
        with self._changed:
            lines = [list(items) for items in self._waiting.values()]
        longest = max(map(len, lines), default=0)
        return [line[i] for i in range(longest) for line in lines if i < len(line)]

    def close(self) -> list[T]:
        """No more is taken; what still waited."""
        left = self.order()
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        return left

    def __len__(self) -> int:
        with self._changed:
            return sum(map(len, self._waiting.values()))
