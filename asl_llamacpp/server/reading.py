"""Reading what was uploaded."""

from __future__ import annotations

from dataclasses import dataclass

from ..sources import Source
from ..sources.errors import UnreadableError
from ..sources.kinds import reader_for


@dataclass(frozen=True)
class Reading:
    """A document's text, and the name of its format."""

    source: Source
    format: str


def read_upload(data: bytes, name: str) -> Reading:
    """Raises ValueError, which says what is wrong with the file."""
    reader = reader_for(data, name)
    source = reader(data, name)
    if not source.text.strip():
        raise UnreadableError(f"{name} is empty: there is nothing to ask about")
    return Reading(source, reader.__module__.rpartition(".")[2])
