"""`asl-llamacpp serve` as a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
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
    said = folder / "said"
    with said.open("w") as file:
        started = subprocess.Popen([*command, *options], stderr=file)
    try:
        while not (line := said.read_text()).endswith("\n"):
            time.sleep(0.05)
        url = line.partition(" at ")[2].split()[0].rstrip("/")
        while httpx.get(f"{url}/health").json()["status"] == "loading":
            time.sleep(0.05)
        yield url, started.pid
    finally:
        started.terminate()
        try:
            started.wait(60)
        finally:
            started.kill()
            print("".join(said.read_text().splitlines(keepends=True)[1:])[-4000:])


def upload(url: str, text: str, name: str) -> str:
    """The id of the document, once it was read."""
    found = httpx.post(f"{url}/v1/documents", files=[("files", (name, text.encode()))], timeout=60).json()["data"][0]
    while httpx.get(f"{url}/v1/documents/{found['id']}").json()["status"] == "reading":
        time.sleep(0.05)
    return str(found["id"])
