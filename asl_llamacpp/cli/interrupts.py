"""Ctrl-C as a wish: what is running stops where it can, with everything that was known still there."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """Within `with`, a first Ctrl-C is only remembered, and `check` raises KeyboardInterrupt; a second raises at once.

    An exception out of the blue would abort a prefill between two steps of it, and cost the document's state.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None

    def check(self) -> None:
        if self._asked:
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True

    def __enter__(self) -> Interrupts:
        self._asked = False
        self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)
