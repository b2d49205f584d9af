"""What is said about documents that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UnreadableError(ValueError):
    """The message says which document cannot be read, why, and what to do."""


@contextmanager
def parsing(name: str, kind: str) -> Iterator[None]:
    """Turn whatever a parser raises on a damaged file into UnreadableError; its own kinds of errors are countless."""
    try:
        yield
    except (UnreadableError, MemoryError):
        raise
    except RecursionError:
        raise UnreadableError(f"{name} cannot be read as {kind} file: its parts are nested too deeply") from None
    except Exception as error:
        why = str(error) or type(error).__name__
        raise UnreadableError(
            f"{name} cannot be read as {kind} file: {why}. If other programs open it, save it anew with one of them"
        ) from None
