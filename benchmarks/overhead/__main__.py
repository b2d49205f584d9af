"""Cost of running layer by layer when nothing is pruned: two contexts of one process, in turn, many times.

    python -m benchmarks.overhead [--lengths 2048,4096] [--repeats 15,7]

Where the pages of a process happen to lie is worth more than what is measured here, so both share one process, one
library and the file's pages. Writes benchmarks/results/overhead-NAME.json and .md. See README.md here.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

from asl_llamacpp import Llama
from benchmarks.common import probe

LAYERWISE = "asl:tau=1e-9,l_max=none,select_k=1024"


def seconds_of(llm: Llama, tokens: list[int]) -> float:
    llm.reset()
    start = time.perf_counter()
    llm.eval(tokens)
    llm.sample(temp=0.0)
    return time.perf_counter() - start


def measure(args: argparse.Namespace, tokens: list[int], repeats: int) -> dict[str, Any]:
    """Pairs of a plain prefill and one layer by layer, with scores at every layer from l_min - l_obs + 1 on."""
    threads = {"n_threads": args.threads, "n_threads_batch": args.threads}
    common = {"n_ctx": len(tokens) + 256, "flash_attn": True, "verbose": False, **threads}
    plain = Llama(args.model, kv_policy="full", **common)
    layerwise = Llama(args.model, kv_policy=LAYERWISE, document_min=None, **common)
    for llm in (plain, layerwise):
        seconds_of(llm, tokens[:512])
    pairs = []
    for i in range(repeats):
        pair = {}
        for name, llm in [("plain", plain), ("layerwise", layerwise)][:: -1 if i % 2 else 1]:
            pair[name] = seconds_of(llm, tokens)
        pairs.append(pair)
        print(f"n={len(tokens)} {pair['plain']:.2f} {pair['layerwise']:.2f}", flush=True)
    ratios = sorted(pair["layerwise"] / pair["plain"] for pair in pairs)
    quarter = len(ratios) // 4
    fastest = [min(pair[name] for pair in pairs) for name in ("layerwise", "plain")]
    return {
        "n": len(tokens),
        "pairs": pairs,
        "ratio": statistics.median(ratios),
        "middle_half": [ratios[quarter], ratios[-1 - quarter]],
        "ratio_of_fastest": fastest[0] / fastest[1],
    }


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="GGUF file; default: the installed SmolLM2-135M-Instruct")
    parser.add_argument("--lengths", default="2048,4096", help="prompt lengths in tokens")
    parser.add_argument("--repeats", default="15,7", help="pairs, one number for each length")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--name", default=None, help="name of the result files; default: the processor")
    args = parser.parse_args()
    args.model = args.model or probe.default_model()
    document = probe.document_tokens(args.model)
    cases = zip(map(int, args.lengths.split(",")), map(int, args.repeats.split(",")), strict=True)
    rows = [measure(args, probe.prompt(document, n), repeats) for n, repeats in cases]

    lines = [
        "| prompt | pairs | layer by layer / plain, median | middle half | fastest / fastest |",
        "| --- " * 5 + "|",
    ]
    for row in rows:
        low, high = row["middle_half"]
        lines.append(
            f"| {row['n']} | {len(row['pairs'])} | {row['ratio']:.3f} | {low:.3f} to {high:.3f} "
            f"| {row['ratio_of_fastest']:.3f} |"
        )
    probe.write_results("overhead", args, rows, "\n".join(lines))


if __name__ == "__main__":
    main()
