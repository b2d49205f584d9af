"""The process that reads what could do harm: a request on its standard input, messages on its standard output.

A message is a line of JSON, whose "raw" tells how many bytes follow. It is one of: ready; page; source; error.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import sys
import traceback
from typing import IO, Any

from .content import read_bytes
from .errors import UnreadableError
from .reading import PageProgress, Reading
from .source_frames import line, pack

_GRACE = 5.0  # seconds: whoever asked ends this process before, if it is still there
MIB = 2**20


def main() -> None:
    """Serve requests until the standard input ends."""
    requests = os.fdopen(os.dup(0), "rb")
    messages = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b") as null:  # what a library prints or reads is none of it
        os.dup2(null.fileno(), 0)
        os.dup2(null.fileno(), 1)
    _send(messages, {"kind": "ready"})
    while request := requests.readline():
        _serve(json.loads(request), requests, messages)


def _serve(request: dict[str, Any], requests: IO[bytes], messages: IO[bytes]) -> None:
    data, name, seconds, memory = requests.read(request["raw"]), request["name"], request["seconds"], request["memory"]

    def watch() -> None:  # a thread in C, which ends the process even where Python does not run any more
        faulthandler.dump_traceback_later(seconds + _GRACE, exit=True)

    def on_page(page: PageProgress) -> None:
        watch()
        _send(messages, {"kind": "page", "page": [page.done, page.n_pages, page.by_ocr]})

    watch()
    limit_memory(memory)
    raw = b""
    try:
        reading = Reading(request["password"], on_page, request["ocr"], None)
        fields, raw = pack(read_bytes(data, name, reading))
        answer = {"kind": "source", "source": fields, "raw": len(raw)}
    except UnreadableError as error:
        answer = {"kind": "error", "type": type(error).__name__, "message": str(error)}
    except (MemoryError, RecursionError) as error:
        answer = {"kind": "error", "type": type(error).__name__, "message": ""}
    except Exception:
        answer = {"kind": "error", "type": "", "message": traceback.format_exc()}
    limit_memory(None)
    faulthandler.cancel_dump_traceback_later()
    _send(messages, answer, raw)


def limit_memory(memory: int | None) -> None:
    """Refuse to allocate more bytes than now and these, where Linux can; None: without limit."""
    if sys.platform != "linux":
        return
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = hard
    if memory is not None:
        with open("/proc/self/statm", encoding="ascii") as statm:
            now = int(statm.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
        limit = now + memory if hard == resource.RLIM_INFINITY else min(now + memory, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _send(messages: IO[bytes], message: dict[str, Any], raw: bytes = b"") -> None:
    messages.write(line(message))
    messages.write(raw)
    messages.flush()
