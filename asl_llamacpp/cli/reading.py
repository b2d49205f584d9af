"""Documents read for a command, and what is said on the way."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from ..llama.opening import Loaded, load_document
from ..sources import Reading
from .chat_text import plain


def read_documents(files: Sequence[str], quiet: bool, password: str | None = None) -> Loaded:
    """As `load_document`; what was not read is said on stderr, unless nothing is to be said."""
    loaded = load_document(files, Reading(password))
    for warning in () if quiet else loaded.content.warnings:
        typer.echo(f"warning: {plain(warning)}", err=True)
    return loaded
