"""A server on a free port of this machine, with the narrow model, on threads of the test's own process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asl_llamacpp  # noqa: F401  first: it chooses the library that llama_cpp loads

# isort: split
import httpx
import uvicorn
from llama_fixtures import PRUNE, narrow_path

from asl_llamacpp.server.app import make_app
from asl_llamacpp.server.house import House
from asl_llamacpp.server.running import bind
from asl_llamacpp.server.settings import ModelSettings, ServerSettings

OPTIONS = {"n_ctx": 2048, "n_threads": 1, "n_threads_batch": 1, "n_batch": 160, "n_ubatch": 160, "seed": 7}
TEXT = "The pass key of the vault is 48213. Remember it.\n\n" + "".join(
    f"{i}. The miller of house {i} sleeps until noon, and nobody expects rain in June.\n" for i in range(40)
)
"""About 800 tokens."""


@dataclass
class Served:
    """A running server. `http` speaks to it."""

    url: str
    house: House
    http: httpx.Client
    app: Any

    def upload(self, data: bytes | str = TEXT, name: str = "valley.txt") -> dict[str, Any]:
        """The document, once it was read."""
        body = data.encode() if isinstance(data, str) else data
        answer = self.http.post("/v1/documents", files=[("files", (name, body))])
        assert answer.status_code == 200, answer.text
        return self.when_read(answer.json()["data"][0]["id"])

    def when_read(self, document: str) -> dict[str, Any]:
        return self.wait(document, lambda found: found["status"] != "reading")

    def when_kept(self, document: str) -> dict[str, Any]:
        return self.wait(document, lambda found: found["state"] == "kept")

    def wait(self, document: str, until: Any, seconds: float = 60) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found: dict[str, Any] = self.http.get(f"/v1/documents/{document}").json()
            if until(found):
                return found
            time.sleep(0.02)
        raise AssertionError(f"waited {seconds} s, and still: {found}")

    def ask(self, question: str, *documents: str, **fields: Any) -> httpx.Response:
        body = {"messages": [{"role": "user", "content": question}], "max_tokens": 3, **fields}
        return self.http.post("/v1/chat/completions", json=body | ({"documents": documents} if documents else {}))

    def stream(self, question: str, *documents: str, **fields: Any) -> list[dict[str, Any]]:
        """All chunks of a streamed answer."""
        answer = self.ask(question, *documents, stream=True, return_progress=True, **fields)
        assert answer.status_code == 200, answer.text
        return chunks(answer.text)


def chunks(text: str) -> list[dict[str, Any]]:
    """The objects of server-sent events, which "[DONE]" must end."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@contextmanager
def served(
    folder: Path, model: Path | None = None, policy: str = PRUNE, options: dict[str, Any] | None = None, **settings: Any
) -> Iterator[Served]:
    """A server that keeps its documents in `folder`; `options` are the model's, `settings` the server's."""
    app = make_app(
        ModelSettings(model or narrow_path(), policy, options={**OPTIONS, **(options or {})}),
        ServerSettings(folder, **settings),
    )
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="error", lifespan="on", ws="none", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        key = settings.get("api_key")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with httpx.Client(base_url=url, timeout=120, headers=headers) as http:
            yield Served(url, app.state.house, http, app)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server does not end"
