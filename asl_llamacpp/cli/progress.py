"""The progress bar of a prefill, on stderr; it leaves nothing behind."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import Progress as Bar

from ..policies import Policy
from ..prefill.report import Progress
from ..prefill.time_left import TimeLeft
from . import bar_columns

_BY_TWO = ("reading", "answering")
"""Phases where one model reads, and another answers: they say all."""


class PrefillBar:
    """A bar that takes what `Llama.on_progress` is called with; shown inside `with`, or until `stop`.

    Args:
        show: False shows nothing; without a terminal nothing is shown either.
        policy, n_prompt: for the time left; see `TimeLeft`.
        title: what is going on before the prefill begins.
        console: where to show it; what is printed there meanwhile stands above the bar.
    """

    def __init__(
        self,
        show: bool = True,
        policy: Policy | None = None,
        n_prompt: int | None = None,
        title: str = "loading",
        console: Console | None = None,
    ) -> None:
        console = console or Console(stderr=True)
        columns = bar_columns.title(), bar_columns.bar(), bar_columns.text("where"), bar_columns.TimeColumn()
        disable = not (show and console.is_terminal)
        self._bar = Bar(*columns, console=console, transient=True, disable=disable)
        self._task = self._bar.add_task(title, total=None, where="", end=None)
        self.time_left = TimeLeft(policy, n_prompt)

    def __call__(self, progress: Progress, title: str | None = None) -> None:
        now = time.monotonic()
        left = self.time_left(progress, now)
        self._bar.update(
            self._task,
            description=title or (progress.phase if progress.phase in _BY_TWO else f"prefill, {progress.phase}"),
            total=1.0,
            completed=self.time_left.share,
            where=f"layer {progress.layer + 1} of {progress.layers}",
            end=None if left is None else now + left,
        )

    def say(self, title: str) -> None:
        """Show what is going on where there is no prefill."""
        self._bar.update(self._task, description=title, total=None, where="", end=None)

    def thought(self, text: str) -> None:
        """Show that the model thinks, and how much: no piece of an answer comes meanwhile."""
        self._bar.update(self._task, description="thinking", total=None, where=f"{len(text.split()):,} words", end=None)

    def stop(self) -> None:
        """Take the bar away; may be called more than once."""
        self._bar.stop()

    def __enter__(self) -> PrefillBar:
        try:
            self._bar.start()
        except BaseException:  # Ctrl-C at this very moment, which must not leave the bar's thread running
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
