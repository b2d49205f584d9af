"""`asl-llamacpp eval`: accuracy of policies on long-context tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ...budget.model_shape import kv_type
from ...evals import figures, tables
from ...evals.lines import Line, read_lines
from ...evals.registry import FROM_FILES, task_names
from ...evals.runner import run
from ...evals.statistics import check_installed
from ...evals.variants import ReaderFile
from ...llama import models
from ...prefill.plot import figure_class
from ..counting_bar import counting_bar
from ..errors import one_line_errors
from ..options import (
    BATCH,
    GpuLayers,
    Model,
    Positions,
    Reader,
    Threads,
    TypeK,
    TypeV,
    Ubatch,
    WithPositions,
    check_positions,
    llama_options,
)

LINES, TABLES = "run.jsonl", "tables.md"
_BASELINE = ("full", "asl")


def eval(
    model: Model = None,
    task: Annotated[
        list[str] | None, typer.Option(help="A task, see --list; may be repeated.", show_default=False)
    ] = None,
    length: Annotated[
        list[int] | None, typer.Option(min=1, help="Tokens of the whole prompt; may be repeated.", show_default=False)
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="A policy, such as asl:tau=0.4 or fastkv; asl+budget compresses its layers too. May be repeated. "
            "asl has the paper's constants, whatever the model's calibration says.",
            show_default=", ".join(_BASELINE),
        ),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help="Share of the prompt to keep, such as 1/4; may be repeated.", show_default="what the policies say"
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Prompts for each task, length and seed.")] = 10,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds: 0, 1, 2...")] = 3,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK=PATH", help="The file that a task needs; may be repeated.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for lines, tables and figures; a run goes on in it.", show_default=False)
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Make tables and figures of this file's lines; run nothing.", show_default=False)
    ] = None,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Try samples that failed once more.")] = False,
    reader: Reader = None,
    positions: WithPositions = Positions.original,
    separate: Annotated[
        bool, typer.Option("--separate", help="A prefill for each policy, to measure seconds; answers are the same.")
    ] = False,
    answered: Annotated[
        bool, typer.Option("--answered", help="Only prompts that full answers right: what pruning costs, in less time.")
    ] = False,
    n_gpu_layers: GpuLayers = -1,
    threads: Threads = None,
    ubatch: Ubatch = BATCH,
    type_k: TypeK = "f16",
    type_v: TypeV = "f16",
    list_tasks: Annotated[bool, typer.Option("--list", help="Name the tasks, and end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Compare policies on long-context tasks: the same prompts for each, with intervals and paired tests."""
    with one_line_errors():
        if list_tasks:
            for name in task_names():
                typer.echo(f"{name}  (needs {FROM_FILES[name]}: --data {name}=PATH)" if name in FROM_FILES else name)
            return
        check_installed()
        figure_class()
        if report is not None:
            if task or length or policy or budget:
                raise ValueError("--report only reads a file: leave --task, --length, --policy and --budget out")
            _publish(read_lines(report), out or report.parent)
            return
        if not task or not length or out is None:
            raise ValueError("give --task (--list names them), --length and --out, or --report FILE")
        reads = None if reader is None else ReaderFile(models.find_model(reader), positions.value)
        check_positions(reader, positions)
        options: dict[str, Any] = {
            **llama_options(n_gpu_layers, threads, ubatch),
            "type_k": kv_type(type_k),
            "type_v": kv_type(type_v),
        }
        with counting_bar(not quiet) as bar:
            shown = bar.add_task("loading", total=None)

            def on_line(line: Line, done: int, total: int) -> None:
                what = f"{line['task']}, {line['length']:,}, {line['policy']} {line['budget'] or ''}"
                bar.update(shown, description=what.strip(), completed=done, total=total)

            run(
                *(models.find_model(model), task, length, policy or _BASELINE, out / LINES),
                budgets=budget or (),
                n_samples=samples,
                seeds=range(seeds),
                data=_files(data or ()),
                retry_errors=retry_errors,
                on_line=on_line,
                shared=not separate,
                answered_by_full=answered,
                reader=reads,
                **options,
            )
        _publish(read_lines(out / LINES), out)


def _files(given: Sequence[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or name not in FROM_FILES:
            raise ValueError(f"--data {text}: give TASK=PATH, the task being one of {', '.join(FROM_FILES)}")
        files[name] = Path(path)
    return files


def _publish(lines: list[Line], folder: Path) -> None:
    """Print the tables; write them and the figures into `folder`."""
    text = tables.report(lines)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TABLES).write_text(text, encoding="utf-8")
    typer.echo(text)
    for path in (folder / TABLES, *figures.draw(lines, folder)):
        typer.echo(f"written: {path}", err=True)
