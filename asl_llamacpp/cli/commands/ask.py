"""`asl-llamacpp ask`: a question about a document."""

from __future__ import annotations

import json
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ...documents.answer import Answer, AnswerStream
from ...documents.evidence import Span
from ...documents.heat_map import check_heat_map_path
from ...llama import models
from ...llama.opening import fit_context, measure, open_loaded
from ...policies import Policy, parse_policy
from ...prefill.plot import check_plot_path, plot_report
from ...sources import STDIN, Reading
from ...sources.fetching import is_url
from ...sources.reading import SECONDS
from ..answer_facts import span_facts
from ..chat_text import plain
from ..errors import one_line_errors
from ..options import (
    AllowPrivate,
    Budget,
    GpuLayers,
    HiddenPlace,
    MaxTokens,
    Model,
    OnOverflow,
    Overflow,
    Password,
    Place,
    PolicySpec,
    Positions,
    Reader,
    ReaderGpuLayers,
    ReaderThreads,
    ReadTimeout,
    Rpc,
    Sections,
    Seed,
    System,
    Temperature,
    Thinking,
    Threads,
    UbatchOfDevice,
    WithPositions,
    budget_of,
    how_to_overflow,
    llama_options,
    reader_arguments,
)
from ..progress import PrefillBar
from ..reading import read_documents

WIDEST = 100
"""Columns of a line of the evidence, in a terminal."""

SHOWN = 3
"""Passages of the evidence that are shown."""


def ask(
    documents: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DOC...",
            help="Files, folders, patterns or URLs, read as one, or one saved .asldoc file; - is standard input.",
            show_default=False,
        ),
    ] = None,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to ask about it.", show_default=False)] = "",
    model: Model = None,
    reader: Reader = None,
    reader_n_gpu_layers: ReaderGpuLayers = None,
    reader_threads: ReaderThreads = None,
    positions: WithPositions = Positions.original,
    policy: PolicySpec = "asl",
    budget: Budget = None,
    n_ctx: Annotated[
        int | None,
        typer.Option("--n-ctx", "--ctx", min=1, help="Context, tokens.", show_default="the smallest that fits"),
    ] = None,
    overflow: Overflow = OnOverflow.error,
    sections: Sections = False,
    password: Password = None,
    read_timeout: ReadTimeout = SECONDS,
    allow_private: AllowPrivate = False,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    seed: Seed = None,
    system: System = "",
    thinking: Thinking = None,
    n_gpu_layers: GpuLayers = -1,
    rpc: Rpc = None,
    hidden: HiddenPlace = Place.device,
    threads: Threads = None,
    ubatch: UbatchOfDevice = None,
    passages: Annotated[int, typer.Option(min=0, help="Passages of the evidence that are shown.")] = SHOWN,
    evidence: Annotated[
        Path | None, typer.Option(help="Write the document as a heat map of the attention into an .html file.")
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Print what was pruned, on stderr.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the selection of the layer into a .png, .svg or .pdf file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, at the end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no evidence on stderr.")] = False,
) -> None:
    """Answer a question about a document that may be long; the passages it could rest on are shown on stderr."""
    with one_line_errors():
        documents = _check_words(documents or [], question)
        kv_policy = parse_policy(policy)
        on_overflow = how_to_overflow(overflow, sections)
        if plot is not None:
            _check_plot(plot, kv_policy)
        if evidence is not None:
            if not kv_policy.prunes:
                raise ValueError(
                    f"--evidence shows what attention picked, and policy {str(kv_policy)!r} computes no scores"
                )
            check_heat_map_path(evidence)
        reading = Reading(password, seconds=read_timeout, allow_private=allow_private)
        path = models.find_model(model)
        loaded = read_documents(documents, quiet, reading)
        llama = {**llama_options(n_gpu_layers, threads, ubatch), "hidden": hidden.value}
        reads = reader_arguments(reader, positions, reader_n_gpu_layers, reader_threads, llama)
        options: dict[str, Any] = {
            "n_ctx": fit_context(measure(path, loaded, question, system), max_tokens, n_ctx, on_overflow),
            **llama,
            **reads,
            "rpc_servers": rpc,
            "kv_policy": policy,
            "kv_budget": budget_of(budget),
        }
        with PrefillBar(not quiet) as bar, closing(models.open_model(path, on_progress=bar, **options)) as llm:
            document = open_loaded(llm, loaded, on_overflow, max_tokens, system)
            answers = document.ask(
                question, max_tokens=max_tokens, temperature=temperature, seed=seed, thinking=thinking, stream=True
            )
            answers.on_thought = bar.thought
            answer = answers.finish() if as_json else _stream(answers, bar)
            if evidence is not None:
                answer.save_heat_map(evidence)
        if as_json:
            told = {
                "answer": answer.text,
                "model": str(path),
                "policy": answer.report.policy,
                "reader": None if reader is None else str(reader),
                "n_ctx": options["n_ctx"],
            }
            facts: dict[str, Any] = {"usage": answer.usage, "finish_reason": answer.finish_reason}
            spans = [span_facts(span) for span in answer.evidence]
            facts |= {"reasoning": answer.reasoning, "evidence": spans, "evidence_note": answer.evidence_note}
            facts["warnings"] = loaded.content.warnings
            typer.echo(json.dumps({**told, **facts, "report": answer.report.to_dict()}))
        elif not quiet:
            _show_evidence(answer, passages)
        if report:
            typer.echo(f"\n{answer.report}", err=True)
        if plot is not None:
            plot_report(answer.report, plot)


def _check_words(documents: list[str], question: str) -> list[str]:
    """The documents. ValueError where one of them, or the question, was forgotten."""
    if documents and not question.strip():
        raise ValueError("the question is empty: say what you want to know")
    if not question.strip():
        raise ValueError('name a document and a question: asl-llamacpp ask report.pdf "Who wrote it?"')
    is_file = question == STDIN or is_url(question) or Path(question).expanduser().exists()
    if is_file:
        what = "standard input" if question == STDIN else question
        call = " ".join(["asl-llamacpp ask", *documents, question, '"your question"'])
        raise ValueError(f"{what} is a document, and no question follows: {call}")
    if not documents:
        raise ValueError(f"no document to ask: name a file, or - for standard input, before the question {question!r}")
    return documents


def _check_plot(path: Path, policy: Policy) -> None:
    if not policy.prunes:
        raise ValueError(f"--plot draws the selection of a layer, and policy {str(policy)!r} selects none")
    check_plot_path(path)


def _stream(answers: AnswerStream, bar: PrefillBar) -> Answer:
    for piece in answers:
        bar.stop()
        sys.stdout.write(plain(piece))
        sys.stdout.flush()
    bar.stop()
    typer.echo()
    return answers.answer


def _show_evidence(answer: Answer, most: int) -> None:
    if not answer.evidence or not most:
        return
    console = Console(stderr=True, highlight=False, markup=False)
    width = min(console.width, WIDEST) if console.is_terminal else sys.maxsize
    typer.echo("\n" + "\n".join(textwrap.wrap(f"evidence   {answer.evidence_note}", width)), err=True)
    for i, span in enumerate(answer.evidence[:most], start=1):
        lines = textwrap.wrap(passage_text(span), width, initial_indent=f"{i:>3}. ", subsequent_indent=" " * 5)
        typer.echo("\n".join(lines), err=True)


def passage_text(span: Span, most: int = 300) -> str:
    """A passage in one line: its place, score and text."""
    place, text = (" ".join(plain(part).split()) for part in (span.where, span.text))
    return f"{place}: {text if len(text) <= most else text[: most - 1] + '…'}"
