"""The program with all of its commands."""

from __future__ import annotations

import typer

from .command_files import CommandFolder
from .version import program

app = typer.Typer(
    name="asl-llamacpp",
    cls=CommandFolder,
    help="Questions about long documents, answered on your own machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.callback()(program)
