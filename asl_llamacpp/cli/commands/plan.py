"""`asl-llamacpp plan`: what a prompt takes in memory under each policy, before anything is run."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ...budget.kv_shape import CELLS_PAD, pad
from ...budget.memory_plan import HEADROOM, Need, Planner
from ...budget.model_file import ModelFile, open_model_file
from ...budget.model_shape import ModelShape, kv_type
from ...budget.plan import KVShape
from ...budget.reader_pair import open_reader_shape
from ...budget.reader_plan import ReaderPlanner
from ...engine.devices import batch_sizes
from ...engine.log import silence_llama_cpp
from ...files.calibration import calibrated
from ...files.model_file import find_model
from ...policies import POLICIES, parse_policy
from ...policies.read_by import can_be_read_for
from ..defaults import MODEL_DEFAULT
from ..errors import one_line_errors
from ..options import (
    BATCH,
    GpuLayers,
    HiddenPlace,
    Place,
    Reader,
    ReaderGpuLayers,
    TypeK,
    TypeV,
    UbatchOfDevice,
    budget_of,
    size_of,
)

_COLUMNS = (
    *("policy", "fits", "weights", "compute", "KV after", "KV peak"),
    *("hidden", "mask", "total peak", "forced layer", "B"),
)


def plan(
    prompt: Annotated[int, typer.Option(min=1, help="Length of the prompt, tokens.", show_default=False)],
    model: Annotated[
        Path | None,
        typer.Argument(
            help="GGUF file; its weights are not read.",
            envvar="ASL_MODEL",
            show_envvar=False,
            show_default=MODEL_DEFAULT,
        ),
    ] = None,
    vram: Annotated[
        str | None,
        typer.Option(
            help="Memory for everything, such as 8GiB. Without --budget, each policy is planned to stay within it, "
            "during the prefill too."
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="What the KV may hold: tokens (2048), a fraction of the prompt (10%) or bytes (2GiB)."),
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="A policy, such as asl:select_k=1024; may be repeated.", show_default="all")
    ] = None,
    reader: Reader = None,
    reader_n_gpu_layers: ReaderGpuLayers = None,
    type_k: TypeK = "f16",
    type_v: TypeV = "f16",
    n_ctx: Annotated[
        int | None,
        typer.Option("--n-ctx", "--ctx", min=1, help="Context, tokens.", show_default="the smallest that fits"),
    ] = None,
    ubatch: UbatchOfDevice = None,
    n_gpu_layers: GpuLayers = -1,
    hidden: HiddenPlace = Place.device,
    swa_full: Annotated[bool, typer.Option(help="Sliding-window layers hold every token, as llama.cpp does.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout; sizes in bytes.")] = False,
) -> None:
    """What a prompt takes in memory under each policy, before anything is run."""
    with one_line_errors():
        silence_llama_cpp()
        path = find_model(model)
        reads = None if reader is None else find_model(reader)
        specs = policy or [name for name in POLICIES if reads is None or can_be_read_for(parse_policy(name))]
        policies = [calibrated(spec, reads or path)[0] for spec in specs]
        kv_budget = budget_of(budget)
        memory = None if vram is None else size_of("--vram", vram)
        cache: dict[str, Any] = {"type_k": kv_type(type_k), "type_v": kv_type(type_v), "swa_full": swa_full}
        n_ctx = n_ctx or pad(prompt + HEADROOM, CELLS_PAD)

        def planner(file: ModelFile, n_gpu_layers: int) -> Planner:
            n_ubatch = ubatch or batch_sizes({"n_gpu_layers": n_gpu_layers}).get("n_ubatch", BATCH)
            shape = KVShape(layers=file.shape.layers, n_ctx=n_ctx, n_ubatch=n_ubatch, **cache)
            return Planner(file.shape, shape, ubatch or BATCH, memory, kv_budget, file, hidden is Place.host)

        with ExitStack() as stack:
            large = planner(stack.enter_context(open_model_file(path, n_gpu_layers)), n_gpu_layers)
            if reads is None:
                rows = large.needs(path, prompt, policies)
            else:
                open_reader_shape(reads)
                on_gpu = n_gpu_layers if reader_n_gpu_layers is None else reader_n_gpu_layers
                small = planner(stack.enter_context(open_model_file(reads, on_gpu)), on_gpu)
                rows = ReaderPlanner(large, path, small, reads).needs(prompt, policies)
        found, shape = large.model, large.shape
        if as_json:
            facts = {
                "model": str(path),
                "reader": reads and str(reads),
                "prompt": prompt,
                "n_ctx": shape.n_ctx,
                "vram": memory,
            }
            told = {
                **facts,
                "budget": kv_budget and str(kv_budget),
                "weights": rows[0].weights,
                "n_ubatch": shape.n_ubatch,
            }
            rows_told = [asdict(row) for row in rows]
            typer.echo(json.dumps({**told, "unsupported": found.unsupported, "policies": rows_told}))
        else:
            typer.echo(_table(rows))
            for note in _notes(rows, found, prompt):
                typer.echo(note)


def _table(rows: list[Need]) -> str:
    lines = [_COLUMNS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines)
    return "\n".join("  ".join(cells) for cells in padded)


def _cells(row: Need) -> tuple[str, ...]:
    sizes = map(_mib, (row.weights, row.compute, row.kv, row.peak_kv, row.hidden, row.mask, row.total))
    fits = {True: "yes", False: "no", None: "-"}[row.fits]
    return row.policy, fits, *sizes, _number(row.forced_layer), _number(row.keep)


def _notes(rows: list[Need], found: ModelShape, prompt: int) -> list[str]:
    notes = [f"{row.policy}: {row.note}" for row in rows if row.note]
    if found.unsupported is not None:
        notes.append(f"Only full can serve this model: {found.unsupported}.")
    if prompt > found.n_ctx_train:
        notes.append(f"The model was trained for {found.n_ctx_train:,} tokens: do not expect sense beyond them.")
    notes.append("Sizes are those of the worst case. What a GPU's driver takes for itself comes on top.")
    return ["", *notes]


def _mib(n_bytes: int | None) -> str:
    return "-" if n_bytes is None else f"{n_bytes / 2**20:,.1f} MiB"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
