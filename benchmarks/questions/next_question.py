"""The next question right after the last one, against llama.cpp's prefix cache, in turn with it.

    python -m benchmarks.questions.next_question --length 5600 [--policy asl:select_k=1024]

With one thread, which is the default, seconds are the processor's own: what else runs on the machine counts little.
One length a run; rows of other lengths that are in benchmarks/results/next-question-NAME.json already stay there. See
README.md here.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

from asl_llamacpp import Document, Llama
from benchmarks.common import probe

from .__main__ import QUESTIONS, cut_text

HEAD = "| document | policy | | llama.cpp s | ours s | times that | ours by phase, clock |\n" + "| --- " * 7 + "|"


def first_token(document: Document, question: str, threads: int) -> float:
    """Seconds until the first piece of the answer is there; the processor's own with one thread."""
    clock = time.process_time if threads == 1 else time.perf_counter
    start = clock()
    stream = document.ask(question, max_tokens=8, stream=True)
    next(stream, None)
    seconds = clock() - start
    stream.close()
    return seconds


def read(args: argparse.Namespace, policy: str, text: str) -> tuple[Llama, Document]:
    llm = Llama(
        args.model,
        kv_policy=policy,
        calibration=None,
        n_ctx=args.length + 392,
        verbose=False,
        flash_attn=True,
        n_threads=args.threads,
        n_threads_batch=args.threads,
    )
    return llm, llm.read(text=text)


def in_turn(stock: Document, ours: Document, llm: Llama, questions: tuple[str, ...], threads: int) -> dict[str, Any]:
    """Seconds to the first token of each question, and of ours the seconds of each phase."""
    pairs, phases, reused = [], [], []
    for question in questions:
        pairs.append((first_token(stock, question, threads), first_token(ours, question, threads)))
        report = llm.last_prefill
        assert report is not None
        phases.append(report.seconds)
        reused.append([report.reused, report.reused_layers, report.n_prompt, report.n_selected])
    return {"seconds": pairs, "phases": phases, "reused": reused}


def measure(args: argparse.Namespace, policy: str, text: str) -> list[dict[str, Any]]:
    stock_llm, stock = read(args, "full", text)
    llm, ours = read(args, policy, text)
    first = in_turn(stock, ours, llm, QUESTIONS[:1], args.threads)
    before = in_turn(stock, ours, llm, QUESTIONS[1 : args.questions + 1], args.threads)
    start = time.perf_counter()
    ours.complete()
    completing = time.perf_counter() - start
    in_turn(stock, ours, llm, QUESTIONS[:1], args.threads)  # the contrast of a completed document is found once
    after = in_turn(stock, ours, llm, QUESTIONS[1 : args.questions + 1], args.threads)
    common = {"n": len(ours.tokens), "length": args.length, "policy": policy}
    rows = [{**common, "when": when, **row} for when, row in (("first", first), ("before", before), ("after", after))]
    rows[-1]["complete_s"] = completing
    stock_llm.close()
    llm.close()
    return rows


def line(row: dict[str, Any]) -> str:
    names = {"first": "first question", "before": "next, before completion", "after": "next, after completion"}
    stock, ours = (statistics.median(column) for column in zip(*row["seconds"], strict=True))
    ratios = sorted(b / a for a, b in row["seconds"])
    phases = {name: statistics.median(one[name] for one in row["phases"]) for name in row["phases"][0]}
    spent = ", ".join(f"{name} {value:.2f}" for name, value in phases.items() if name != "total" and value >= 0.005)
    ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    return f"| {row['n']} | {row['policy']} | {names[row['when']]} | {stock:.2f} | {ours:.2f} | {ratio} | {spent} |"


def main() -> None:
    """Measure one length, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="GGUF file; default: the installed SmolLM2-135M-Instruct")
    parser.add_argument("--length", type=int, default=5600, help="tokens of the document")
    parser.add_argument("--questions", type=int, default=5, choices=range(1, 6), help="after the first one")
    parser.add_argument("--policy", default=None, help="default: asl, calibrated")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", default=None, help="name of the result files; default: the processor")
    args = parser.parse_args()
    args.model = args.model or probe.default_model()
    policy = args.policy or probe.calibrated(args.model, 1024)
    rows = measure(args, policy, cut_text(args.model, args.length))
    path = probe.RESULTS / f"next-question-{args.name or probe.processor_name()}.json"
    if path.exists():
        known = json.loads(path.read_text())["rows"]
        rows = [*(row for row in known if (row["length"], row["policy"]) != (args.length, policy)), *rows]
    rows.sort(key=lambda row: (row["length"], row["policy"]))
    probe.write_results("next-question", args, rows, "\n".join([HEAD, *map(line, rows)]))


if __name__ == "__main__":
    main()
