"""A `Source` on its way from the process that reads it: a line of JSON, and behind it the places of characters."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from .source import Heading, Mark, Source


def fields_of(source: Source) -> dict[str, Any]:
    """All that JSON can say: everything but the `char_rects`."""
    return {
        "name": source.name,
        "text": source.text,
        "marks": [[mark.start, mark.page, mark.section] for mark in source.marks],
        "warnings": source.warnings,
        "headings": [[heading.start, heading.title, heading.level] for heading in source.headings],
        "page_labels": source.page_labels,
    }


def source_of(fields: dict[str, Any], char_rects: Any) -> Source:
    """The document of these fields. ValueError, TypeError or KeyError for what `fields_of` did not make."""
    return Source(
        str(fields["name"]),
        str(fields["text"]),
        tuple(Mark(*mark) for mark in fields["marks"]),
        tuple(map(str, fields["warnings"])),
        tuple(Heading(*heading) for heading in fields["headings"]),
        tuple(map(str, fields["page_labels"])),
        char_rects,
    )


def pack(source: Source) -> tuple[dict[str, Any], bytes]:
    """What JSON can say, and the `char_rects` as bytes; none where there are none."""
    rects = source.char_rects
    return fields_of(source), b"" if rects is None else np.ascontiguousarray(rects, dtype=np.float32).tobytes()


def unpack(fields: dict[str, Any], rects: bytes) -> Source:
    """The document. ValueError, TypeError or KeyError for what `pack` did not make."""
    places = np.frombuffer(rects, dtype=np.float32).reshape(len(fields["text"]), 4) if rects else None
    return source_of(fields, places)


def line(message: dict[str, Any]) -> bytes:
    """A message as a line."""
    return json.dumps(message).encode() + b"\n"
