"""A `Source` on its way from the process that reads it: a line of JSON, and behind it the places of characters."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from .source import Heading, Mark, Source


def pack(source: Source) -> tuple[dict[str, Any], bytes]:
    """What JSON can say, and the `char_rects` as bytes; none where there are none."""
    fields = {
        "name": source.name,
        "text": source.text,
        "marks": [[mark.start, mark.page, mark.section] for mark in source.marks],
        "warnings": source.warnings,
        "headings": [[heading.start, heading.title, heading.level] for heading in source.headings],
        "page_labels": source.page_labels,
    }
    rects = source.char_rects
    return fields, b"" if rects is None else np.ascontiguousarray(rects, dtype=np.float32).tobytes()


def unpack(fields: dict[str, Any], rects: bytes) -> Source:
    """The document. ValueError, TypeError or KeyError for what `pack` did not make."""
    return Source(
        str(fields["name"]),
        str(fields["text"]),
        tuple(Mark(*mark) for mark in fields["marks"]),
        tuple(map(str, fields["warnings"])),
        tuple(Heading(*heading) for heading in fields["headings"]),
        tuple(map(str, fields["page_labels"])),
        np.frombuffer(rects, dtype=np.float32).reshape(len(fields["text"]), 4) if rects else None,
    )


def line(message: dict[str, Any]) -> bytes:
    """A message as a line."""
    return json.dumps(message).encode() + b"\n"
