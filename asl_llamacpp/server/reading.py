"""Reading what was uploaded, in a process of its own, which takes no more than its time and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..sources import Source
from ..sources.kinds import format_of
from ..sources.reading import Reading as HowToRead
from ..sources.safely import read_safely


@dataclass(frozen=True)
class Reading:
    """A document's text, and the name of its format."""

    source: Source
    format: str


def read_upload(data: bytes, name: str, on_wait: Callable[[], None] | None = None) -> Reading:
    """Read a file; plain text, which nothing parses, in this process.

    on_wait: called ten times a second meanwhile; what it raises ends the reading.

    Raises ValueError, which says what is wrong with the file.
    """
    source = read_safely(data, name, HowToRead(on_wait=on_wait))
    return Reading(source, format_of(data, name).read.__module__.rpartition(".")[2])
