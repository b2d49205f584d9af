"""Reading what was uploaded."""

from __future__ import annotations

from dataclasses import dataclass

from ..sources import AS_IS, Source
from ..sources.errors import UnreadableError
from ..sources.kinds import format_of
from ..sources.pdf_pages import page_sizes


@dataclass(frozen=True)
class Reading:
    """A document's text, the name of its format, and width and height of its pages in points, if they have pictures."""

    source: Source
    format: str
    page_sizes: list[tuple[float, float]]


def read_upload(data: bytes, name: str) -> Reading:
    """Raises ValueError, which says what is wrong with the file."""
    found = format_of(data, name)
    source = found.source(data, name, AS_IS)
    if not source.text.strip():
        raise UnreadableError(f"{name} is empty: there is nothing to ask about")
    name_of_format = found.read.__module__.rpartition(".")[2]
    return Reading(source, name_of_format, page_sizes(data) if name_of_format == "pdf" else [])
