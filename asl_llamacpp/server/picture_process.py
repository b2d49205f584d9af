"""The process that draws pages: `python -m asl_llamacpp.server.picture_process`.

It takes lines of JSON, {"pdf": path, "page": number, "width": pixels}, and gives for each a line of JSON, {"bytes": n}
or {"error": text}, with the n bytes of a PNG file behind it. Without a page it gives the sizes of all pages, as JSON.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..sources.pdf_pages import page_picture, page_sizes

MEMORY = 1 << 30
"""Bytes that it may take."""


def main() -> None:
    """Until there are no more lines."""
    with suppress(ImportError, OSError, ValueError):  # there are none on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        try:
            data = _answer(asked)
            told: dict[str, Any] = {"bytes": len(data)}
        except (ValueError, OSError, MemoryError) as error:
            data, told = b"", {"error": str(error) or type(error).__name__}
        sys.stdout.buffer.write(json.dumps(told).encode() + b"\n" + data)
        sys.stdout.buffer.flush()


def _answer(asked: dict[str, Any]) -> bytes:
    data = Path(asked["pdf"]).read_bytes()
    if "page" in asked:
        return page_picture(data, asked["page"], asked["width"])
    return json.dumps(page_sizes(data)).encode()


if __name__ == "__main__":
    main()
