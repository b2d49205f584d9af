"""`Llama`'s settings of documents: where their states go, and how much they may take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, get_args

from ..budget.text import parse_budget
from ..policies.checks import integer

Place = Literal["device", "ram", "disk"]
DOCUMENT_LIMIT = 4 << 30
"""Bytes that documents may take outside of the context, by default."""

PLACES: tuple[Place, ...] = get_args(Place)


def check_store(
    document_min: int | None, document_store: Any, document_limit: int | str, document_folder: Any
) -> dict[str, Any]:
    """`Llama`'s arguments as those of `DocumentStore`; ValueError, or NotADirectoryError for the folder."""
    if document_store not in PLACES:
        raise ValueError(f"document_store={document_store!r}: use one of {', '.join(map(repr, PLACES))}")
    if document_min is not None:
        document_min = integer("document_min", document_min, 1)
    if isinstance(document_limit, str):
        try:
            parsed = parse_budget(document_limit)
        except ValueError:
            parsed = None
        if parsed is None or parsed.kind != "bytes":
            raise ValueError(f"document_limit={document_limit!r}: give bytes with a unit, such as '4GiB'")
        document_limit = int(parsed.value)
    limit = integer("document_limit", document_limit, 0)
    return {
        "place": document_store,
        "limit": limit,
        "min_tokens": document_min,
        "folder": check_folder(document_folder),
    }


def store_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """The reverse of `check_store`."""
    return {
        "document_store": options["place"],
        "document_limit": options["limit"],
        "document_min": options["min_tokens"],
        "document_folder": options["folder"],
    }


def check_folder(folder: str | os.PathLike[str] | None) -> Path | None:
    """NotADirectoryError unless `folder` is one, or None."""
    if folder is None:
        return None
    path = Path(folder)
    if not path.is_dir():
        raise NotADirectoryError(f"document_folder={str(folder)!r} is no folder: make it first")
    return path
