"""The progress bar of a prefill, on stderr; it leaves nothing behind."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from ..policies import Policy
from ..prefill.report import Progress
from ..prefill.time_left import TimeLeft, duration_text


class _LeftColumn(ProgressColumn):
    """Counts down between two estimates."""

    def render(self, task: Task) -> Text:
        end: float | None = task.fields["end"]
        left = 0.0 if end is None else end - time.monotonic()
        return Text(f"{duration_text(left)} left" if left > 0.5 else "", style="progress.remaining")


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
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[where]}")
        disable = not (show and console.is_terminal)
        times = TimeElapsedColumn(), _LeftColumn()
        self._bar = Bar(*columns, *times, console=console, transient=True, disable=disable)
        self._task = self._bar.add_task(title, total=None, where="", end=None)
        self.time_left = TimeLeft(policy, n_prompt)

    def __call__(self, progress: Progress) -> None:
        layer = f"layer {progress.layer + 1} of {progress.layers}"
        now = time.monotonic()
        left = self.time_left(progress, now)
        self._bar.update(
            self._task,
            description=f"prefill, {progress.phase}",
            total=1.0,
            completed=self.time_left.share,
            where=f"{layer}, {progress.tokens:,} of {progress.n_tokens:,} tokens",
            end=None if left is None else now + left,
        )

    def say(self, title: str) -> None:
        """Show what is going on where there is no prefill."""
        self._bar.update(self._task, description=title, total=None, where="", end=None)

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
