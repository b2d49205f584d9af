"""A process of ours that reads documents: started, asked, watched and ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

from .source_frames import line

_PACKAGE = __package__ or ""
_ROOT = str(Path(__file__).resolve().parents[len(_PACKAGE.split("."))])
_CODE = f"import sys, json; sys.path[:] = json.loads(sys.argv[1]); from {_PACKAGE} import safe_child; safe_child.main()"
GONE: dict[str, Any] = {"kind": "gone"}


class ChildProcess:
    """Runs `safe_child`. Not for several threads at once."""

    def __init__(self) -> None:
        import psutil

        # isolated: neither the folder that the user is in nor the environment adds modules
        path = [entry for entry in sys.path if entry] + [_ROOT]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _CODE, json.dumps(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # with all that it starts
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        self._watched = psutil.Process(self._process.pid)
        self._messages: Queue[tuple[dict[str, Any], bytes]] = Queue()
        Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        try:
            while text := stream.readline():
                message = json.loads(text)
                self._messages.put((message, stream.read(message.get("raw", 0))))
        except ValueError:  # closed, or no message
            pass
        self._messages.put((GONE, b""))

    def ask(self, request: dict[str, Any], raw: bytes) -> None:
        """Send a request; whether it arrives shows in the messages."""
        stream = self._process.stdin
        assert stream is not None
        with contextlib.suppress(OSError):
            stream.write(line({**request, "raw": len(raw)}))
            stream.write(raw)
            stream.flush()

    def message(self, seconds: float) -> tuple[dict[str, Any], bytes] | None:
        """The next message, and what follows it; `GONE` once the process has ended; None: none came in time."""
        try:
            return self._messages.get(timeout=seconds)
        except Empty:
            return None

    @property
    def resident(self) -> int:
        """Bytes of memory that it has now; 0 once it has ended."""
        import psutil

        try:
            return int(self._watched.memory_info().rss)
        except psutil.Error:
            return 0

    def how_it_ended(self) -> str:
        """As "SIGSEGV" or "exit code 1"."""
        code = self._process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def end(self) -> None:
        """Stop it at once, if it runs."""
        if self._process.poll() is None:
            if hasattr(os, "killpg"):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
