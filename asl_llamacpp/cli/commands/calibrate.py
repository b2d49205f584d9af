"""`asl-llamacpp calibrate`: the constants of the policy "asl" for one model, by its answers to generated prompts."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from ...engine.version import __version__
from ...evals import calibrate as calibrating
from ...evals.ablation import own
from ...evals.calibrate import HeadsFound
from ...evals.calibration_fit import Outcomes
from ...evals.kept_recordings import KeptRecordings
from ...evals.lines import Line, read_lines
from ...files import calibration
from ...files.fingerprint import model_fingerprint
from ...llama import models
from ..counting_bar import counting_bar
from ..errors import one_line_errors
from ..options import GpuLayers, Threads, Ubatch, llama_options


def calibrate(
    model: Annotated[Path, typer.Argument(help="GGUF file.", show_default=False)],
    prompts: Annotated[int, typer.Option(min=calibrating.LEAST, help="Prompts that the model answers rightly.")] = 24,
    length: Annotated[int, typer.Option(min=256, help="Tokens of a prompt.")] = 1024,
    data: Annotated[
        Path | None,
        typer.Option(help="Choose heads by real questions too: a file in SQuAD's JSON form.", show_default="none"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The file to write.", show_default="beside the model, where Llama finds it")
    ] = None,
    lines: Annotated[
        Path | None,
        typer.Option(
            help="Keep what was measured in this .jsonl file, afterwards too.", show_default="until it is done"
        ),
    ] = None,
    n_gpu_layers: GpuLayers = -1,
    threads: Threads = None,
    ubatch: Ubatch = 512,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Find a model's own constants for kv_policy="asl": minutes of generated prompts, no training."""
    with one_line_errors():
        path = models.find_model(model)
        target = calibration.place(path) if out is None else out
        if not os.access(target.parent, os.W_OK):
            raise FileNotFoundError(f"{target} cannot be written: there is no folder {target.parent} to write to")
        options = llama_options(n_gpu_layers, threads, ubatch)
        with counting_bar(not quiet) as bar:
            looking = bar.add_task("heads that look answers up", total=calibrating.n_head_prompts(data))
            recordings = KeptRecordings(_kept(path, length, "heads", _content(data)))
            heads = calibrating.find_heads(
                path, length=length, data=data, recordings=recordings,
                on_prompt=lambda task: bar.advance(looking), **options,
            )  # fmt: skip
            file = _lines_file(path, length, heads) if lines is None else lines
            shown = bar.add_task("loading", total=prompts, completed=_n_known(file, path, length))

            def on_line(line: Line) -> None:
                what = "answered" if "budgets" in line else "not answered, left out"
                bar.update(shown, description=f"{line['task']}: {what}", advance=int("budgets" in line))

            measured = calibrating.measure(
                path, file, n_prompts=prompts, length=length, heads=heads, on_line=on_line, **options
            )
        found = calibrating.find(measured, heads)
        written = calibration.write(path, found.best.policy, found.facts, target)
        recordings.remove()
        if lines is None:
            file.unlink(missing_ok=True)
        n = sum(found.tasks.values())
        why = "more would tell nothing new" if calibrating.settled(measured) else "the model answers no more rightly"
        few = f"; {prompts} were wanted, but {why}" if n < prompts else ""
        typer.echo(f"on the {n} prompts that the constants were chosen by{few}:")
        rows = ("calibrated", found.best), ("paper's constants", found.paper), ("best fixed layer", found.layer)
        for name, outcomes in rows:
            typer.echo(_row(name, outcomes))
        if heads is not None:
            typer.echo("\n".join(_of_heads(heads)))
        typer.echo(f"written: {written}", err=True)


def _row(name: str, found: Outcomes) -> str:
    return (
        f"{name:<18} loss {found.loss.mean():.3f}, work {found.work.mean():.2f}, "
        f"layer {found.layer.mean():.1f}: {found.policy}"
    )


def _of_heads(heads: HeadsFound) -> list[str]:
    """What chosen heads keep of the answers, where they were chosen and where they were not."""
    title = f"heads {heads.way.split()[1]}; share of the answers' tokens among 1/8, in sentences:"
    lines = [title, "kind             prompts  by them  by heads of other kinds  by all heads"]
    for one in heads.judged:
        shares = f"{one.training:<7.2f}  {one.held_out:<23.2f}  {one.all_heads:.2f}"
        lines.append(f"{one.task:<15}  {one.n:<7}  {shares}")
    return lines


def _lines_file(model: Path, length: int, heads: HeadsFound | None) -> Path:
    """Where measurements are kept until there is a calibration, so that a run that was stopped goes on."""
    ways = "; ".join([*calibrating.WAYS, *([] if heads is None else [heads.way])])
    return _kept(model, length, "lines", ways.encode()).with_suffix(".jsonl")


def _kept(model: Path, length: int, what: str, settings: bytes) -> Path:
    """A path in the user's cache, for a calibration of `model` with these settings by this version."""
    folder = platformdirs.user_cache_path("asl_llamacpp", appauthor=False)
    folder.mkdir(parents=True, exist_ok=True)
    mark = zlib.crc32(f"{__version__} {length} ".encode() + settings)
    return folder / f"calibrate-{model_fingerprint(model)}-{what}-{mark:08x}"


def _content(data: Path | None) -> bytes:
    return data.read_bytes() if data is not None and data.is_file() else b""  # else it is refused later


def _n_known(file: Path, model: Path, length: int) -> int:
    lines = own(read_lines(file), model_fingerprint(model), length) if file.exists() else []
    return sum("budgets" in line for line in lines)
