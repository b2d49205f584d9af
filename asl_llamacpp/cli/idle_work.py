"""What a chat does while nobody waits: the document is carried through all layers, and a question stops that."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from ..prefill.report import Progress
from .chat_session import ChatSession


class _Stopped(Exception):
    """Somebody has entered a line."""


class IdleWork:
    """Completes the session's document between an answer and the next line, in a thread of its own.

    enabled  False: nothing is ever done
    status   what is being done, in a few words; empty: nothing
    refusal  why the document cannot be completed, until `take_refusal`; then nothing is tried again
    """

    def __init__(self, session: ChatSession, enabled: bool = True) -> None:
        self.session, self.enabled = session, enabled
        self.status = ""
        self.refusal: str | None = None
        self._refused: object = None
        self._wanted = threading.Event()

    def between(self, lines: Iterable[str]) -> Iterator[str]:
        """The lines; while one is waited for, the work goes on. It has stopped when the line is there."""
        waiting = iter(lines)
        while True:
            with self.working():
                line = next(waiting, None)
            if line is None:
                return
            yield line

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work within `with`, if there is something to do; leaving it takes as long as one ubatch at most."""
        if not self._has_work():
            yield
            return
        self._wanted.clear()
        thread = threading.Thread(target=self._work, name="idle work")
        thread.start()
        try:
            yield
        finally:
            self._wanted.set()
            while thread.is_alive():
                with suppress(KeyboardInterrupt):  # the context must not be closed, or asked, under it
                    thread.join()

    def _has_work(self) -> bool:
        session = self.session
        return (
            self.enabled and session.last is not None and session.document is not self._refused and session.can_complete
        )

    def _work(self) -> None:
        llm, document = self.session.llm, self.session.document
        llm.on_progress = self._progress
        try:
            document.complete()
        except _Stopped:
            pass
        except (ValueError, OSError, MemoryError, RuntimeError) as error:
            self._refused, self.refusal = document, " ".join(str(error).split()) or type(error).__name__
        finally:
            llm.on_progress = None
            self.status = ""

    def _progress(self, progress: Progress) -> None:
        if self._wanted.is_set():
            raise _Stopped
        self.status = f"reading on, layer {progress.layer + 1} of {progress.layers}"

    def take_refusal(self) -> str | None:
        """Why the document cannot be completed, told once."""
        refusal, self.refusal = self.refusal, None
        return refusal
