"""Pictures of pages, drawn in a process of its own: a hostile file can only end that one."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

SECONDS = 20.0
"""For a picture, after which the process is ended."""


class Pictures:
    """One process, started for the first picture; all methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        with self._lock:
            self._end()

    def page(self, pdf: Path, page: int, width: int) -> bytes:
        """A PNG file. Raises ValueError if the page cannot be drawn, or takes too long or too much memory."""
        return self._ask({"pdf": str(pdf), "page": page, "width": width}, f"page {page}")

    def sizes(self, pdf: Path) -> list[list[float]]:
        """Width and height of all pages, points. Raises as `page`."""
        sizes: list[list[float]] = json.loads(self._ask({"pdf": str(pdf)}, "the pages"))
        return sizes

    def _ask(self, asked: dict[str, Any], what: str) -> bytes:
        with self._lock:
            process = self._started()
            assert process.stdin is not None and process.stdout is not None
            late = threading.Timer(SECONDS, process.kill)
            late.start()
            try:
                process.stdin.write(json.dumps(asked).encode() + b"\n")
                process.stdin.flush()
                told = json.loads(process.stdout.readline())
                data = process.stdout.read(told.get("bytes", 0))
                if len(data) < told.get("bytes", 0):
                    raise EOFError
            except (OSError, ValueError, EOFError):
                self._end()
                raise ValueError(
                    f"{what} of this file cannot be drawn: it takes too long, or too much memory"
                ) from None
            finally:
                late.cancel()
        if "error" in told:
            raise ValueError(told["error"])
        return data

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-m", f"{__package__}.picture_process"]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(OSError):
                    if pipe is not None:
                        pipe.close()
            self._process.wait()
            self._process = None
