"""What is known of one document that was brought to the server."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Literal

Status = Literal["reading", "ready", "failed"]

LONGEST_NAME = 200


@dataclass
class Record:
    """One document; all but its bytes and its text.

    tokens  by the hash of a tokenizer: how many tokens the text has
    """

    id: str
    name: str
    n_bytes: int
    created_at: int
    format: str = ""
    status: Status = "reading"
    error: str | None = None
    n_pages: int | None = None
    n_characters: int = 0
    warnings: list[str] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)
    page_sizes: list[list[float]] = field(default_factory=list)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Record:
        """Raises ValueError, TypeError for what is none."""
        return cls(**json.loads(data))


def plain_name(name: str | None) -> str:
    """The last part of what a client calls a file, without control characters; never empty, and never a path."""
    name = PureWindowsPath(PurePosixPath(name or "").name).name
    name = "".join(c for c in name if c.isprintable()).strip()
    if len(name) > LONGEST_NAME:
        stem, dot, suffix = name.rpartition(".")
        name = f"{stem[: LONGEST_NAME - 20]}{dot}{suffix[:19]}" if dot else name[:LONGEST_NAME]
    return name or "document"


def document_id(data: bytes, name: str) -> str:
    """The same for the same bytes under the same name, so that their state is shared."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass") + b"\0")
    digest.update(data)
    return f"doc-{digest.hexdigest()[:24]}"
