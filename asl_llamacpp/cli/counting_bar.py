"""The progress of commands that answer many prompts: how many are done, and how long the rest will take."""

from __future__ import annotations

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from . import bar_columns


def counting_bar(show: bool) -> Progress:
    """On stderr, where that is a terminal and `show` is True."""
    console = Console(stderr=True)
    columns = bar_columns.title(), bar_columns.bar(), MofNCompleteColumn(table_column=bar_columns.one_line())
    times = TimeElapsedColumn(bar_columns.one_line()), TimeRemainingColumn(table_column=bar_columns.one_line())
    return Progress(*columns, *times, console=console, transient=True, disable=not (show and console.is_terminal))
