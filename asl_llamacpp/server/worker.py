"""The one thread that uses the model: it opens it, and then does one job after another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, Literal, Protocol, TypeVar

from .errors import SERVER, APIError
from .fair_queue import FairQueue
from .job import Job, Stopped

log = logging.getLogger(__name__)

Status = Literal["loading", "ok", "failed", "closed"]


class Workplace(Protocol):
    def idle(self) -> None:
        """Called after each job, when its client knows how it went."""

    def close(self) -> None: ...


D = TypeVar("D", bound=Workplace)


class Worker(Generic[D]):
    """Does jobs with the desk that `open_desk` gives, which no other thread may use.

    status     "loading" until the desk is there
    error      why it is not
    running    the job that is being done
    on_failed  called when the desk could not be opened
    """

    def __init__(self, open_desk: Callable[[], D], max_waiting: int) -> None:
        self._open = open_desk
        self.max_waiting = max_waiting
        self.queue: FairQueue[Job] = FairQueue()
        self.status: Status = "loading"
        self.error: BaseException | None = None
        self.running: Job | None = None
        self.on_failed: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop what runs, within one ubatch, and close the desk."""
        left = self.queue.close()
        self.status = "closed"
        for job in left:
            job.emit("error", APIError(503, "the server is shutting down", SERVER, code="shutting_down"))
        if self.running is not None:
            self.running.stop()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def submit(self, job: Job) -> None:
        """Let a job wait for its turn. APIError if too many do already, or there is no model."""
        if self.status in ("failed", "closed"):
            raise APIError(503, f"there is no model: {self.error or 'the server is shutting down'}", SERVER)
        if len(self.queue) >= self.max_waiting:
            message = f"{self.max_waiting} requests wait already: try again later"
            raise APIError(429, message, "rate_limit_error", code="queue_full")
        self.queue.put(job.client, job)
        self._tell_positions()

    def drop(self, job: Job) -> None:
        """Nobody waits for it any more: out of the queue with it, or stopped within one ubatch."""
        job.stop()
        if self.queue.remove(job.client, job):
            job.emit("error", _gone())
            self._tell_positions()

    def _tell_positions(self) -> None:
        first = 0 if self.running is None else 1
        for i, job in enumerate(self.queue.order()):
            job.tell_position(i + first)

    def _run(self) -> None:
        try:
            desk = self._open()
        except BaseException as error:
            self.error, self.status = error, "failed"
            for left in self.queue.close():
                left.emit("error", APIError(503, f"there is no model: {error}", SERVER))
            self.on_failed()
            return
        if self.status == "loading":
            self.status = "ok"
        try:
            while (job := self.queue.take()) is not None:
                self.running = job
                job.waited = time.perf_counter() - job.made
                job.tell_position(0)
                self._tell_positions()
                self._do(job, desk)
                self._tidy(desk)
                self.running = None
        finally:
            desk.close()

    def _tidy(self, desk: D) -> None:
        try:
            desk.idle()
        except Exception as error:
            log.error("after a request", exc_info=error)

    def _do(self, job: Job, desk: D) -> None:
        try:
            job.check()
            job.emit("result", job.work(desk, job))
        except Stopped:
            job.emit("error", _gone())
        except Exception as error:
            job.emit("error", error)
        except BaseException as error:
            job.emit("error", error)
            raise


def _gone() -> APIError:
    return APIError(499, "the client went away", code="client_closed_request")
