"""Documents read for a command, and what is said on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import typer
from rich.console import Console
from rich.progress import Progress

from ..llama.opening import Loaded, load_document
from ..sources import PageProgress, Reading
from . import bar_columns
from .chat_text import plain


def read_documents(files: Sequence[str], quiet: bool, reading: Reading) -> Loaded:
    """As `load_document`; pages are counted while they are read.

    What was not read, and the order of a folder's files, are said on stderr, unless nothing is to be said.
    """
    console = Console(stderr=True)
    columns = bar_columns.title(), bar_columns.bar(), bar_columns.text("page"), bar_columns.TimeColumn()
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None, page="")

        def on_page(page: PageProgress) -> None:
            pages = f"{page.done:,} of {page.n_pages:,} pages" + (" by OCR" if page.by_ocr else "")
            bar.update(
                task, description=f"reading {plain(page.name)}", completed=page.done, total=page.n_pages, page=pages
            )

        loaded = load_document(files, replace(reading, on_page=on_page))
    if not quiet:
        names = [source.name for source in loaded.content.sources]
        if loaded.saved is None and len(names) != len(files):
            typer.echo(f"reading {len(names)} files, in this order: {plain(', '.join(names))}", err=True)
        for warning in loaded.content.warnings:
            typer.echo(f"warning: {plain(warning)}", err=True)
    return loaded
