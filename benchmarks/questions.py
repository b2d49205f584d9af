"""Time to first token of further questions about a document, against the first one's.

    python benchmarks/questions.py [--length 7900] [--questions 5] [--policy asl:layer=14,select_k=1024]

Writes benchmarks/results/questions-NAME.json and .md. See README.md here.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

import probe

from asl_llamacpp import Llama

N_QUESTION = 64


def ideal(n: int, n_layer: int, layer: int, select_k: int, window: int) -> float:
    """The question and the window through all layers, k tokens through the deep ones, over the first prompt."""
    deep = select_k * (n_layer - layer - 1)
    return ((N_QUESTION + window) * n_layer + deep) / (n * (layer + 1) + deep)


def measure(args: argparse.Namespace, policy: str, document: list[int], texts: list[int]) -> dict[str, Any]:
    """Each question follows the same document; the first prompt is prefilled as a whole."""
    threads = {"n_threads": args.threads, "n_threads_batch": args.threads}
    llm = Llama(args.model, kv_policy=policy, n_ctx=len(document) + 256, verbose=False, **threads)
    llm.eval(texts[:512])  # warm up
    seconds = []
    for i in range(args.questions + 1):
        llm.reset()
        start = time.perf_counter()
        llm.eval(document + texts[100 * i + 7 : 100 * i + 7 + N_QUESTION])
        llm.sample(temp=0.0)
        seconds.append(time.perf_counter() - start)
        report = llm.last_prefill
        assert report is not None and report.selection_layer is not None
        assert report.reused == (len(document) if i else 0)
    engine = llm._engine
    assert engine is not None
    sizes = (report.n_layer, report.selection_layer, report.n_selected, llm.kv_policy.window)
    result = {
        "policy": policy,
        "n": len(document),
        "selection_layer": report.selection_layer,
        "first_s": seconds[0],
        "next_s": seconds[1:],
        "ratio": statistics.median(seconds[1:]) / seconds[0],
        "ideal": ideal(len(document), *sizes),
        "held_bytes": engine.info().held_bytes,
        "kv_bytes": engine.info().kv_bytes,
    }
    llm.close()
    return result


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="GGUF file; default: the installed SmolLM2-135M-Instruct")
    parser.add_argument("--length", type=int, default=7900, help="tokens of the document")
    parser.add_argument("--questions", type=int, default=5, help="after the first one")
    parser.add_argument("--policy", action="append", help="may be repeated")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--name", default=None, help="name of the result files; default: the processor")
    args = parser.parse_args()
    args.model = args.model or probe.default_model()
    policies = args.policy or ["asl:layer=14,select_k=1024", "asl:select_k=1024"]
    texts = probe.document_tokens(args.model)
    document = (texts * (args.length // len(texts) + 1))[: args.length]
    rows = [measure(args, policy, document, texts) for policy in policies]

    head = "| policy | document | selection layer | first question s | next ones s | ratio | ideal | held MiB |"
    lines = [head, "| --- " * 8 + "|"]
    for row in rows:
        lines.append(
            f"| {row['policy']} | {row['n']} | {row['selection_layer']} | {row['first_s']:.2f} "
            f"| {statistics.median(row['next_s']):.2f} | {row['ratio']:.3f} | {row['ideal']:.3f} "
            f"| {row['held_bytes'] / 2**20:.1f} |"
        )
    probe.write_results("questions", args, rows, "\n".join(lines))


if __name__ == "__main__":
    main()
