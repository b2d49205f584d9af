"""Ctrl-C as a wish: what is running stops where it can, with everything that was known still there."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

from ..prefill.report import Progress


class Interrupts:
    """Within `with`, a first Ctrl-C is only remembered, and `check` raises KeyboardInterrupt; a second raises at once.

    An exception out of the blue would abort a prefill between two steps of it, and cost the document's state. `check`
    of a prefill waits for the end of its layer: what ran up to there need not run again.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None
        self._first_layer = 0

    @property
    def asked(self) -> bool:
        """Whether somebody wants it to stop."""
        return self._asked

    def check(self, progress: Progress | None = None) -> None:
        if progress is not None and progress.tokens == 0:
            self._first_layer = progress.layer
        if self._asked and (progress is None or self._loses_little(progress)):
            raise KeyboardInterrupt

    def _loses_little(self, progress: Progress) -> bool:
        """Whether what the present run of layers has done is kept, or there is nothing of it."""
        return progress.tokens == 0 or self._first_layer == 0 or progress.phase not in ("shallow", "document")

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
