"""`asl-llamacpp ask`: a question about a document."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import models
from ..answering import Query, answer, fit_context, measure, stream_answer
from ..budget import parse_budget
from ..plot import check_plot_path, plot_report
from ..policies import Policy, parse_policy
from ..sources import read_source
from .errors import one_line_errors
from .progress import PrefillBar

BATCH = 512


def ask(
    document: Annotated[
        str, typer.Argument(metavar="DOC", help="Text, Markdown, PDF, DOCX, HTML or EPUB file; - is standard input.")
    ],
    question: Annotated[str, typer.Argument(help="What to ask about it.")],
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="GGUF file.", show_default="SmolLM2-135M-Instruct, if installed"),
    ] = None,
    policy: Annotated[
        str, typer.Option(help="What to prune: asl, snapkv, full..., or a spec such as asl:tau=0.4,select_k=1024.")
    ] = "asl",
    budget: Annotated[
        str | None,
        typer.Option(
            help="What the KV cache may hold: 2048 (tokens), 10% (of the prompt) or 2GiB.", show_default="no limit"
        ),
    ] = None,
    n_ctx: Annotated[
        int | None, typer.Option(min=1, help="Context, tokens.", show_default="the smallest that fits")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, tokens.")] = 256,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest token.")] = 0.0,
    n_gpu_layers: Annotated[int, typer.Option(min=-1, help="Layers on the GPU, if there is one; -1: all.")] = -1,
    rpc: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT,...", help="RPC servers to put layers on.", show_default="this machine alone"),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.", show_default="by CPU count")] = None,
    ubatch: Annotated[int, typer.Option(min=1, help="Tokens evaluated at once.")] = BATCH,
    report: Annotated[bool, typer.Option("--report", help="Print what was pruned, on stderr.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the selection of the layer into a .png, .svg or .pdf file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, at the end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Answer a question about a document that may be long."""
    with one_line_errors():
        kv_policy = parse_policy(policy)
        if plot is not None:
            _check_plot(plot, kv_policy)
        path = models.find_model(model)
        query = Query(read_source(document).text.strip("\n"), question, max_tokens, temperature)
        options: dict[str, Any] = {
            "n_ctx": fit_context(measure(path, query), max_tokens, n_ctx),
            "n_batch": max(BATCH, ubatch),
            "n_ubatch": ubatch,
            "n_threads": threads,
            "n_threads_batch": threads,
            "n_gpu_layers": n_gpu_layers,
            "rpc_servers": rpc,
            "kv_policy": kv_policy,
            "kv_budget": parse_budget(budget),
        }
        with PrefillBar(not quiet) as bar, closing(models.open_model(path, on_progress=bar, **options)) as llm:
            if as_json:
                text, facts = answer(llm, query)
            else:
                _stream(llm, query, bar)
            prefill = llm.last_prefill
            assert prefill is not None  # there is an answer, so a prompt was evaluated
        if as_json:
            told = {"answer": text, "model": str(path), "policy": str(kv_policy), "n_ctx": options["n_ctx"], **facts}
            typer.echo(json.dumps({**told, "report": prefill.to_dict()}))
        if report:
            typer.echo(f"\n{prefill}", err=True)
        if plot is not None:
            plot_report(prefill, plot)


def _check_plot(path: Path, policy: Policy) -> None:
    if not policy.prunes:
        raise ValueError(f"--plot draws the selection of a layer, and policy {str(policy)!r} selects none")
    check_plot_path(path)


def _stream(llm: Any, query: Query, bar: PrefillBar) -> None:
    for piece in stream_answer(llm, query):
        bar.stop()
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
