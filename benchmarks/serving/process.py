"""`asl-llamacpp serve` as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx


@contextmanager
def serving(model: Path, folder: Path, *options: str) -> Iterator[tuple[str, int]]:
    """Its URL and process id; it is ended at the end."""
    command = [
        sys.executable,
        "-m",
        "asl_llamacpp.cli",
        "serve",
        "-m",
        str(model),
        "--port",
        "0",
        "--folder",
        str(folder),
    ]
    started = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    try:
        assert started.stderr is not None
        url = started.stderr.readline().partition(" at ")[2].split()[0].rstrip("/")
        while httpx.get(f"{url}/health").json()["status"] == "loading":
            pass
        yield url, started.pid
    finally:
        started.terminate()
        started.wait(30)


def upload(url: str, text: str, name: str) -> str:
    """The id of the document, once it was read."""
    found = httpx.post(f"{url}/v1/documents", files=[("files", (name, text.encode()))], timeout=60).json()["data"][0]
    while httpx.get(f"{url}/v1/documents/{found['id']}").json()["status"] == "reading":
        pass
    return str(found["id"])
