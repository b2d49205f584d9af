"""The command line `asl-llamacpp`: one file a command, in `commands/`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .program import app

INTERRUPTED = 130


def main() -> None:
    """Entry point of `asl-llamacpp`. What it needs is imported here, so that Ctrl-C ends that in one line too."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that has no such character shows a question mark
            stream.reconfigure(errors="replace")
    try:
        from .program import app

        app()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def __getattr__(name: str) -> Any:
    if name == "app":
        from .program import app

        return app
    raise AttributeError(name)


__all__ = ["app", "main"]
