"""`asl-llamacpp demo`: one question about a real document, answered by the default model through ASL."""

from __future__ import annotations

from contextlib import closing

from rich.console import Console
from rich.rule import Rule

from ...llama import models
from ...llama.opening import EXAMPLE, fit_context, load_document, measure, open_loaded
from ...policies import ASL
from ...prefill.report import PrefillReport
from ..errors import one_line_errors
from ..progress import PrefillBar

QUESTION = "What is the number of the RFC about carrier pigeons?"
POLICY = ASL(select_k=1024, l_min=15, l_max=21, score_layers=4)  # what `asl-llamacpp calibrate` finds for this model
MAX_TOKENS = 48


def demo() -> None:
    """Answer one question about a real document with the default model, and show what that saved."""
    with one_line_errors():
        path = models.default_model()
        loaded = load_document([str(EXAMPLE)])
        size = measure(path, loaded, QUESTION)
        console = Console(highlight=False)
        console.print(f"[dim]model   [/]  {path.name}")
        console.print(f"[dim]document[/]  {EXAMPLE.name}, {size.document:,} tokens")
        console.print(f"[dim]policy  [/]  {POLICY}")
        console.print(f"[dim]question[/]  [bold]{QUESTION}[/]")
        n_ctx = fit_context(size, MAX_TOKENS)
        with (
            PrefillBar() as bar,
            closing(models.open_model(path, n_ctx=n_ctx, n_gpu_layers=-1, kv_policy=POLICY, on_progress=bar)) as llm,
        ):
            answers = open_loaded(llm, loaded, "error", MAX_TOKENS).ask(QUESTION, max_tokens=MAX_TOKENS, stream=True)
            for i, piece in enumerate(answers):
                bar.stop()
                console.print("[dim]answer  [/]  " if i == 0 else "", end="")
                console.print(piece, end="", markup=False, style="bold green", soft_wrap=True)
            report = answers.answer.report
        console.print("\n", Rule(style="dim"), str(report), Rule(style="dim"), _saved(report), sep="\n")


def _saved(report: PrefillReport) -> str:
    """What the pruning saved, in a sentence."""
    if report.selection_layer is None:
        return "Nothing was pruned, so nothing was saved."
    deep = report.n_layer - report.selection_layer - 1
    saved = report.kv_bytes_full - report.kv_bytes
    return (
        f"The last {deep} of {report.n_layer} layers ran on {report.n_selected:,} of {report.n_prompt:,} tokens. "
        f"The KV cache takes {report.kv_bytes / 2**20:.1f} MiB instead of {report.kv_bytes_full / 2**20:.1f} MiB: "
        f"{100 * saved / report.kv_bytes_full:.0f} % saved."
    )
