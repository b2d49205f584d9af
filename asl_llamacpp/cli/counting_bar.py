"""The progress of commands that answer many prompts: how many are done, and how long the rest will take."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def counting_bar(show: bool) -> Progress:
    """On stderr, where that is a terminal and `show` is True."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    times = TimeElapsedColumn(), TimeRemainingColumn()
    return Progress(*columns, *times, console=console, transient=True, disable=not (show and console.is_terminal))
