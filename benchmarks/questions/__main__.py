"""Time to first token of further questions about a document, against the first one's.

    python -m benchmarks.questions [--length 7800] [--questions 5] [--policy asl:select_k=1024] [--way ram]

Writes benchmarks/results/questions-NAME.json and .md. See README.md here.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from asl_llamacpp import Document, Llama
from asl_llamacpp.llama.opening import EXAMPLE
from benchmarks.common import probe

QUESTIONS = (
    "What is the number of the RFC about carrier pigeons?",
    "Who wrote the story of Mel, and on which machine did he work?",
    "What did the label on the magic switch say, and what happened when it was flipped?",
    "Why did the tiger crash when the two wires were crossed, according to the text above?",
    "Which words are used for people who know computers only from television in this document?",
    "Name all the machines that are mentioned in this document, in the order of their appearance.",
)

WAYS: dict[str, dict[str, Any]] = {
    "context": {},
    "complete": {},
    "device": {"document_store": "device"},
    "ram": {},
    "disk": {"document_store": "disk"},
    "file": {},
    "ram, kv_budget=1024": {"kv_budget": 1024},
}
"""Where the document's state is when a question is asked. Under "full" it is llama.cpp's own cache, in the context.

"complete" is the context too, once the document was carried through all layers there.
"""


def ideal(n: int, n_question: float, n_layer: int, layer: int, select_k: int) -> float:
    """The question's tokens through all layers and k through the deep ones, over n through the shallow and k deep."""
    deep = select_k * (n_layer - layer - 1)
    return (n_question * n_layer + deep) / (n * (layer + 1) + deep)


def first_token(document: Document, question: str) -> float:
    """Seconds until the first piece of the answer is there."""
    start = time.perf_counter()
    stream = document.ask(question, max_tokens=8, stream=True)
    next(stream, None)
    seconds = time.perf_counter() - start
    stream.close()
    return seconds


def measure(args: argparse.Namespace, policy: str, way: str, text: str) -> dict[str, Any]:
    threads = {"n_threads": args.threads, "n_threads_batch": args.threads}
    settings = {
        "kv_policy": policy,
        "calibration": None,
        "n_ctx": args.length + 392,
        "verbose": False,
        "flash_attn": True,
        **threads,
        **WAYS[way],
    }
    llm = Llama(args.model, **settings)
    document = llm.read(text=text)
    llm("Once upon a time", max_tokens=4)  # warm up
    first, seconds, n_questions = first_token(document, QUESTIONS[0]), [], []
    start = time.perf_counter()
    if way == "complete":
        document.complete()
    completing = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        if way == "file":
            path = Path(folder) / "document.asldoc"
            document.save(path)
        for question in QUESTIONS[1 : args.questions + 1]:
            opening = 0.0
            if way == "file":
                document.close()
                start = time.perf_counter()
                document = llm.open_document(path)
                opening = time.perf_counter() - start
            elif way not in ("context", "complete"):
                llm.reset()
                llm("Something else in between", max_tokens=1)
            seconds.append(opening + first_token(document, question))
            report = llm.last_prefill
            assert report is not None and (policy == "full" or report.reused >= len(document.tokens) - 32)
            n_questions.append(report.n_prompt - report.reused)
    n_question, state = statistics.mean(n_questions), document.state
    result = {
        "policy": policy,
        "way": way,
        "n": len(document.tokens),
        "n_question": n_question,
        "selection_layer": report.selection_layer,
        "first_s": first,
        "complete_s": completing if way == "complete" else None,
        "next_s": seconds,
        "ratio": statistics.median(seconds) / first,
        "ideal": None
        if report.selection_layer is None
        else ideal(len(document.tokens), n_question, report.n_layer, report.selection_layer, report.n_selected),
        "state_bytes": None if state is None else state.n_bytes,
        "kv_bytes": report.kv_bytes,
    }
    llm.close()
    return result


def cut_text(model: str, length: int) -> str:
    """The demo's document, repeated and cut to `length` tokens or a few less."""
    llm = Llama(model, vocab_only=True, verbose=False, kv_policy="full")
    text = EXAMPLE.read_text(encoding="utf-8")
    tokens = llm.tokenize((text * (length // 3000 + 1)).encode(), add_bos=False)[:length]
    cut: str = llm.detokenize(tokens).decode(errors="ignore")
    llm.close()
    return cut


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="GGUF file; default: the installed SmolLM2-135M-Instruct")
    parser.add_argument("--length", type=int, default=7800, help="tokens of the document")
    parser.add_argument("--questions", type=int, default=5, choices=range(1, 6), help="after the first one")
    parser.add_argument("--policy", action="append", help="may be repeated; default: asl, calibrated")
    parser.add_argument("--way", action="append", choices=WAYS, help="may be repeated; default: all")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--name", default=None, help="name of the result files; default: the processor")
    args = parser.parse_args()
    args.model = args.model or probe.default_model()
    policies = args.policy or [probe.calibrated(args.model, 1024)]
    text = cut_text(args.model, args.length)
    rows = [measure(args, policy, way, text) for policy in policies for way in args.way or WAYS]

    head = (
        "| policy | state in | document | layer | first question s | next ones s | ratio | ideal | state MiB | KV MiB |"
    )
    lines = [head, "| --- " * 10 + "|"]
    for row in rows:
        layer, state = row["selection_layer"], row["state_bytes"]
        lines.append(
            f"| {row['policy']} | {row['way']} | {row['n']} | {'-' if layer is None else layer} "
            f"| {row['first_s']:.2f} | {statistics.median(row['next_s']):.2f} | {row['ratio']:.3f} "
            f"| {'-' if row['ideal'] is None else format(row['ideal'], '.3f')} "
            f"| {'-' if state is None else format(state / 2**20, '.1f')} | {row['kv_bytes'] / 2**20:.1f} |"
        )
    probe.write_results("questions", args, rows, "\n".join(lines))


if __name__ == "__main__":
    main()
