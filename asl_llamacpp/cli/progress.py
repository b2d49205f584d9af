"""The progress bar of a prefill, on stderr; it leaves nothing behind."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from ..report import Progress


class PrefillBar:
    """A bar that takes what `Llama.on_progress` is called with; shown inside `with`, or until `stop`."""

    def __init__(self, show: bool = True) -> None:
        console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[where]}")
        disable = not (show and console.is_terminal)
        self._bar = Bar(*columns, TimeElapsedColumn(), console=console, transient=True, disable=disable)
        self._task = self._bar.add_task("loading", total=None, where="")

    def __call__(self, progress: Progress) -> None:
        done = progress.layer + progress.tokens / max(progress.n_tokens, 1)
        layer = f"layer {progress.layer + 1} of {progress.layers}"
        self._bar.update(
            self._task,
            description=f"prefill, {progress.phase}",
            total=progress.layers,
            completed=min(done, progress.layers),
            where=f"{layer}, {progress.tokens:,} of {progress.n_tokens:,} tokens",
        )

    def stop(self) -> None:
        """Take the bar away; may be called more than once."""
        self._bar.stop()

    def __enter__(self) -> PrefillBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
