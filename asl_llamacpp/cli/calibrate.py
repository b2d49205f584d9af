"""`asl-llamacpp calibrate`: the constants of the policy "asl" for one model, by its answers to generated prompts."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .. import calibration, models
from ..evals import calibrate as calibrating
from ..evals.calibration_fit import Outcomes
from ..evals.lines import Line, read_lines
from .errors import one_line_errors
from .options import GpuLayers, Threads, Ubatch, llama_options


def calibrate(
    model: Annotated[Path, typer.Argument(help="GGUF file.", show_default=False)],
    prompts: Annotated[int, typer.Option(min=calibrating.LEAST, help="Prompts that the model answers rightly.")] = 24,
    length: Annotated[int, typer.Option(min=256, help="Tokens of a prompt.")] = 1024,
    out: Annotated[
        Path | None, typer.Option(help="The file to write.", show_default="beside the model, where Llama finds it")
    ] = None,
    lines: Annotated[
        Path | None,
        typer.Option(help="Keep what was measured in this .jsonl file; a run that was stopped goes on in it."),
    ] = None,
    n_gpu_layers: GpuLayers = -1,
    threads: Threads = None,
    ubatch: Ubatch = 512,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Find a model's own constants for kv_policy="asl": minutes of generated prompts, no training."""
    with one_line_errors():
        path = models.find_model(model)
        options = llama_options(n_gpu_layers, threads, ubatch)
        with _file(lines) as file, _bar(not quiet) as bar:
            n_known = sum("budgets" in line for line in read_lines(file)) if file.exists() else 0
            shown = bar.add_task("loading", total=prompts, completed=n_known)

            def on_line(line: Line) -> None:
                what = "answered" if "budgets" in line else "not answered, left out"
                bar.update(shown, description=f"{line['task']}: {what}", advance=int("budgets" in line))

            measured = calibrating.measure(path, file, n_prompts=prompts, length=length, on_line=on_line, **options)
        found = calibrating.find(measured)
        written = calibration.write(path, found.best.policy, found.facts, out)
        rows = ("calibrated", found.best), ("paper's constants", found.paper), ("best fixed layer", found.layer)
        for name, outcomes in rows:
            typer.echo(_row(name, outcomes))
        typer.echo(f"written: {written}", err=True)


def _row(name: str, found: Outcomes) -> str:
    return (
        f"{name:<18} loss {found.loss.mean():.3f}, work {found.work.mean():.2f}, "
        f"layer {found.layer.mean():.1f}: {found.policy}"
    )


@contextlib.contextmanager
def _file(path: Path | None) -> Iterator[Path]:
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "lines.jsonl"


def _bar(show: bool) -> Progress:
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    times = TimeElapsedColumn(), TimeRemainingColumn()
    return Progress(*columns, *times, console=console, transient=True, disable=not (show and console.is_terminal))
