"""`asl-llamacpp --version`."""

from __future__ import annotations

from typing import Annotated

import typer

from ..engine.version import __version__


def _show(wanted: bool) -> None:
    if wanted:
        typer.echo(f"asl-llamacpp {__version__}")
        raise typer.Exit


def program(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version, and end.", callback=_show, is_eager=True)
    ] = False,
) -> None:
    """What the program takes without a command."""
