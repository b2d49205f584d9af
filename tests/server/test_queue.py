"""Who waits for whom, and clients that go away: in the queue, in a prefill, in an answer."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from served import TEXT, Served, served

from asl_llamacpp.prefill.report import Progress
from asl_llamacpp.server.desk import Desk
from asl_llamacpp.server.errors import APIError
from asl_llamacpp.server.fair_queue import FairQueue
from asl_llamacpp.server.job import Job
from asl_llamacpp.server.worker import Worker


def test_clients_take_turns() -> None:
    queue: FairQueue[str] = FairQueue()
    for name in ("a1", "a2", "a3", "b1", "c1", "b2"):
        queue.put(name[0], name)
    expected = ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert queue.order() == expected
    assert queue.remove("c", "c1") and not queue.remove("c", "c1")
    expected.remove("c1")
    assert [queue.take() for _ in expected] == expected and len(queue) == 0
    waiting = threading.Thread(target=queue.take)
    waiting.start()
    queue.close()
    waiting.join(5)
    assert not waiting.is_alive()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


class Steps:
    """Counts the steps of prefills, and can hold the model at one."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []
        self.hold, self.held = threading.Event(), threading.Event()
        self.hold.set()
        watch = Desk.watch

        def watched(desk: Desk, job: Any, on_progress: Any = None) -> None:
            def progress(step: Progress) -> None:
                self.seen.append(step)
                self.held.set()
                assert self.hold.wait(60)
                if on_progress is not None:
                    on_progress(step)

            watch(desk, job, None if job is None else progress)

        self.undo = lambda: setattr(Desk, "watch", watch)
        Desk.watch = watched  # type: ignore[method-assign]


@pytest.fixture
def steps() -> Iterator[Steps]:
    found = Steps()
    yield found
    found.hold.set()
    found.undo()


def lines(server: Served, body: dict[str, Any]) -> Any:
    return server.http.stream("POST", "/v1/chat/completions", json={"stream": True, "return_progress": True, **body})


def question(document: str, user: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "What is the pass key?"}]
    return {"messages": messages, "documents": [document], "user": user, "max_tokens": 3, **fields}


def until(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_client_that_goes_away_stops_its_prefill_at_once(server: Served, steps: Steps) -> None:
    document = server.upload(TEXT + TEXT[50:])["id"]
    steps.hold.clear()
    with lines(server, question(document, "a")) as answer:
        told = answer.iter_lines()  # as long as it is there, so is the client
        assert json.loads(next(told).removeprefix("data: "))["prompt_progress"]["queue_position"] == 0
        assert steps.held.wait(60)
    worker = server.house.worker
    job = worker.running
    assert job is not None
    until(lambda: job.stopped)
    n = len(steps.seen)
    steps.hold.set()
    until(lambda: worker.running is None)
    assert len(steps.seen) <= n + 1  # the one that was held, and no other
    assert server.ask("What is the pass key?", document).status_code == 200


def test_an_answer_that_nobody_reads_is_stopped(server: Served) -> None:
    document = server.upload()["id"]
    server.ask("What?", document)
    with lines(server, question(document, "a", max_tokens=400)) as answer:
        found = answer.iter_lines()
        while '"content":"' not in (line := next(found)) or '"content":""' in line:
            pass
    until(lambda: server.house.worker.running is None, 2)
    done = server.http.get("/metrics").text
    assert "asl_answer_tokens_total 403.0" not in done and "asl_stopped_requests_total 1.0" in done


class Quiet:
    """A desk that has nothing to do between two jobs."""

    def idle(self) -> None: ...
    def close(self) -> None: ...


def test_the_position_is_told_and_who_left_the_queue_counts_no_more() -> None:
    async def run() -> None:
        worker: Worker[Quiet] = Worker(Quiet, max_waiting=3)
        go = threading.Event()
        jobs = {name: Job(name, lambda desk, job: go.wait(10), wants_progress=True) for name in "abcde"}
        told: dict[str, list[int]] = {name: [] for name in jobs}

        async def listen(name: str) -> Any:
            async for event in jobs[name].events():
                if event.kind == "queue":
                    told[name].append(event.value)
                else:
                    return event

        worker.start()
        for name in "abcd":
            worker.submit(jobs[name])
            while name == "a" and worker.running is None:
                await asyncio.sleep(0.001)
        with pytest.raises(APIError, match="3 requests wait") as full:
            worker.submit(jobs["e"])
        assert full.value.status == 429
        worker.drop(jobs["c"])
        go.set()
        ended = await asyncio.wait_for(asyncio.gather(*map(listen, "abcd")), 20)  # whoever left is told, too
        assert [event.kind for event in ended] == ["result", "result", "error", "result"]
        assert told == {"a": [0], "b": [1, 0], "c": [2], "d": [3, 2, 1, 0], "e": []}
        worker.close()

    with ThreadPoolExecutor(1) as alone:  # a browser of other tests keeps an event loop in this thread
        alone.submit(asyncio.run, run()).result()


def test_a_killed_upload_leaves_nothing(server: Served) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/documents HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 100000\r\n"
        head += "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        body = '--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n' + TEXT[:2000]
        connection.sendall((head + body).encode())
        time.sleep(0.1)
    time.sleep(0.1)
    assert server.http.get("/v1/documents").json()["data"] == []
    assert [path.name for path in (server.house.settings.folder / "documents").iterdir()] == ["in-use"]
