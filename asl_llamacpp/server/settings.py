"""What a server is told when it is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..documents.shelf import Overflow

MIB = 1 << 20


@dataclass(frozen=True)
class ModelSettings:
    """Which model is served, and how it is opened.

    options   as `Llama` takes them
    overflow  what a document longer than the context does: "error" or "sections"
    """

    path: Path
    policy: str = "asl"
    overflow: Overflow = "error"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ServerSettings:
    """Where documents are kept, who may ask, and how much.

    folder        documents and their states; one server at a time
    store_limit   bytes of that folder; the states used least recently go first, documents never
    max_upload    bytes of one request that brings files
    max_body      bytes of any other request
    max_files     files of one request
    max_documents documents that are kept
    max_waiting   requests that wait for the model
    max_tokens    longest answer where a request says nothing, tokens
    api_key       what requests must name; None: nothing
    hosts         names that requests may have in Host, beside IP addresses where `any_address` is set; without ports
    origins       other sites' pages that may ask (CORS), as "https://example.org"
    """

    folder: Path
    store_limit: int = 16 << 30
    max_upload: int = 256 * MIB
    max_body: int = 16 * MIB
    max_files: int = 32
    max_documents: int = 1000
    max_waiting: int = 64
    max_tokens: int = 1024
    api_key: str | None = None
    hosts: frozenset[str] = frozenset({"localhost", "127.0.0.1", "::1"})
    any_address: bool = False
    origins: frozenset[str] = frozenset()
