"""What all progress bars have in common: a line of at most 60 columns, so that a narrower window does not break it."""

from __future__ import annotations

import time

from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from ..prefill.time_left import duration_text

WIDEST_TITLE = 24


def one_line() -> Column:
    return Column(no_wrap=True, overflow="ellipsis")


def title() -> TextColumn:
    return TextColumn(
        "{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", max_width=WIDEST_TITLE)
    )


def bar() -> BarColumn:
    return BarColumn(bar_width=10)


def text(field: str) -> TextColumn:
    """What the field of a task says."""
    return TextColumn("{task.fields[" + field + "]}", table_column=one_line())


class TimeColumn(ProgressColumn):
    """Counts down to the task's `end`, of `time.monotonic`, between two estimates; without one it counts up."""

    def __init__(self) -> None:
        super().__init__(table_column=one_line())

    def render(self, task: Task) -> Text:
        end: float | None = task.fields.get("end")
        left = 0.0 if end is None else end - time.monotonic()
        if left > 0.5:
            return Text(f"{duration_text(left)} left", style="progress.remaining")
        return Text(duration_text(task.elapsed or 0.0), style="progress.elapsed")
