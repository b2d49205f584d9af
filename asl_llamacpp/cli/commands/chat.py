"""`asl-llamacpp chat`: many questions about the same documents."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Annotated, Any

import typer
from rich.console import Console

from ...llama import models
from ...llama.opening import fit_context, measure
from ...policies import parse_policy
from ...prefill.report import Progress
from ...sources import Reading
from ...sources.reading import SECONDS
from ..answer_facts import answer_facts
from ..chat_commands import is_command, run_command
from ..chat_lines import HOW_TO_LEAVE, TerminalLines, is_interactive, no_echo, piped_lines
from ..chat_session import ChatSession
from ..chat_text import facts, plain
from ..errors import FAILED, one_line_errors
from ..idle_work import IdleWork
from ..interrupts import Interrupts
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

ROOM = 2048
"""Tokens beside the document in an automatic context: for the history, a question and its answer."""


def chat(
    documents: Annotated[
        list[str],
        typer.Argument(
            metavar="DOC...",
            help="Files, folders, patterns or URLs, read one after another, or one saved .asldoc file.",
            show_default=False,
        ),
    ],
    model: Model = None,
    reader: Reader = None,
    reader_n_gpu_layers: ReaderGpuLayers = None,
    reader_threads: ReaderThreads = None,
    positions: WithPositions = Positions.original,
    policy: PolicySpec = "asl",
    budget: Budget = None,
    n_ctx: Annotated[
        int | None,
        typer.Option(
            "--n-ctx",
            "--ctx",
            min=1,
            help="Context, tokens.",
            show_default=f"the document and {ROOM} tokens, if the model can",
        ),
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
    complete: Annotated[
        bool,
        typer.Option(
            help="While no question is there, carry the document through all layers: later answers see all of it."
        ),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a question on stdout, in a line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Answers and errors only.")] = False,
) -> None:
    """Ask many questions about the same documents. Only the first one has to wait for all of the text.

    Questions may come from a pipe, one a line. If one fails, the others are asked, and the exit code is 1.
    """
    with one_line_errors():
        parse_policy(policy)
        on_overflow = how_to_overflow(overflow, sections)
        interactive = is_interactive(documents)
        reading = Reading(password, seconds=read_timeout, allow_private=allow_private)
        path = models.find_model(model)
        loaded = read_documents(documents, quiet, reading)
        size = measure(path, loaded, system=system)
        llama = {**llama_options(n_gpu_layers, threads, ubatch), "hidden": hidden.value}
        reads = reader_arguments(reader, positions, reader_n_gpu_layers, reader_threads, llama)
        options: dict[str, Any] = {
            "n_ctx": fit_context(size, max_tokens, n_ctx, on_overflow, ROOM),
            **llama,
            **reads,
            "rpc_servers": rpc,
            "kv_budget": budget_of(budget),
        }
        with ExitStack() as stack:
            with PrefillBar(not quiet) as bar:
                arguments = (path, loaded, policy, {**options, "on_progress": bar})
                sampling = {"temperature": temperature, "seed": seed, "thinking": thinking}
                session = stack.enter_context(ChatSession(*arguments, on_overflow, max_tokens, sampling, system))
            asked = Chat(session, interactive, quiet, complete, as_json)
            asked.run("-" not in documents)
    if asked.failed and not interactive:
        raise typer.Exit(FAILED)  # not within: it would be taken for an error of the model


class Chat:
    """Asks the session what comes in, and prints what comes out: answers on stdout, everything else on stderr.

    failed  an error was printed
    """

    def __init__(
        self, session: ChatSession, interactive: bool, quiet: bool, complete: bool = True, as_json: bool = False
    ) -> None:
        self.session, self.interactive, self.quiet, self.as_json = session, interactive, quiet, as_json
        self._idle = IdleWork(session, complete and interactive)
        self.failed = False
        self._interrupts = Interrupts()
        self._err = Console(stderr=True, highlight=False, markup=False, soft_wrap=not interactive)

    @property
    def width(self) -> int:
        return min(self._err.width, 100)

    def note(self, text: str) -> None:
        self._err.print(text, style="dim" if self.interactive else None)

    def run(self, from_stdin: bool = True) -> None:
        """Until there are no more lines, or /quit."""
        lines: Iterable[str] = piped_lines()
        if self.interactive:
            lines = TerminalLines(self.note, from_stdin, lambda: self._idle.status)
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: self.note(f"warning: {message}")
            if self.interactive and not self.quiet:
                self._greet()
            for line in self._idle.between(lines):
                if line.strip() and not self._serve(line.strip()):
                    return

    def _greet(self) -> None:
        document, llm = self.session.document, self.session.llm
        known = document.state
        self.note(
            f"{plain(document.name)}, {document.n_tokens:,} tokens"
            + (", saved with its state" if known is not None and known.layers else "")
            + f" · {llm.metadata.get('general.name') or self.session.model.name}, context {llm.n_ctx():,} tokens"
            + f" · {self.session.policy}"
        )
        self.note(HOW_TO_LEAVE)

    def _serve(self, line: str) -> bool:
        """A question or a command; False: leave. Whatever goes wrong with it, the chat goes on."""
        try:
            with ExitStack() as stack:
                if self.interactive:
                    stack.enter_context(no_echo())
                    stack.enter_context(self._interrupts)
                if is_command(line):
                    return run_command(self, line)
                if not self.interactive and not self.quiet and not self.as_json:
                    self.note(f"> {line}")
                self._answer(line)
        except KeyboardInterrupt:
            if not self.interactive:
                raise
            self.note(f"stopped{self._kept()}")
        except BrokenPipeError:
            raise
        except (OSError, ValueError, ImportError, MemoryError, RuntimeError) as error:
            self.failed = True
            message = " ".join(str(error).split()) or type(error).__name__
            if self.as_json and not is_command(line):
                typer.echo(json.dumps({"question": line, "error": message}))
            self._err.print(f"error: {message}", style="red" if self.interactive else None)
        return True

    def _kept(self) -> str:
        """What of a stopped prefill need not run again."""
        known = self.session.document.state
        if known is None or not known.layers:
            return ""
        return f": the next question goes on from layer {known.layers} of {known.n_layer}"

    def _bar(self, title: str, n_prompt: int | None = None) -> PrefillBar:
        bar = PrefillBar(not self.quiet, self.session.policy, n_prompt, title, self._err)

        def on_progress(progress: Progress) -> None:
            self._interrupts.check(progress)
            bar(progress, "stopping" if self._interrupts.asked else None)

        self.session.llm.on_progress = on_progress
        return bar

    def _answer(self, question: str) -> None:
        session, start, waited = self.session, time.monotonic(), 0.0
        dropped = session.fit(question)
        with self._bar("prefill", session.n_prompt(question, dropped)) as bar:
            stream = session.ask(question, dropped)
            if dropped:
                what = f"{dropped} turns of the chat do" if dropped > 1 else "turn of the chat does"
                self.note(f"the oldest {what} not fit the context any more, and will be forgotten")
            stream.on_thought = self._thought(bar)
            try:
                for piece in stream:
                    if not waited:
                        bar.stop()
                        waited = time.monotonic() - start
                    if not self.as_json:
                        sys.stdout.write(plain(piece))
                        sys.stdout.flush()
                    self._interrupts.check()
            finally:
                answer = session.keep(question, stream)
                if waited and not self.as_json:
                    sys.stdout.write("\n")
                    sys.stdout.flush()
        if answer is not None and self.as_json:
            typer.echo(json.dumps(answer_facts(answer)))
        if answer is not None and not self.quiet:
            if not answer.text:
                self.note("the model had nothing to say")
            if self.interactive:
                self.note(facts(answer.report, waited, answer.finish_reason, session.max_tokens) + "\n")
                refusal = self._idle.take_refusal()
                if refusal is not None:
                    self.note(f"the document goes no deeper: {refusal}\n")

    def _thought(self, bar: PrefillBar) -> Callable[[str], None]:
        def on_thought(text: str) -> None:
            self._interrupts.check()
            bar.thought(text)

        return on_thought

    def work(self, task: Callable[[Callable[[str], object]], str]) -> str:
        """See `chat_commands.Console`."""
        with self._bar("working") as bar:
            return task(bar.say)
