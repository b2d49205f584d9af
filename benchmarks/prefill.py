"""Prefill and decode of stock llama.cpp against ours, in one process each, alternately; medians and ratios.

    python benchmarks/prefill.py --stock build/native/stock/lib [--lengths 2048,4096,7936] [--repeats 7,5,5]

Writes benchmarks/results/prefill-NAME.json and .md. See README.md here for what the rows are.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import probe
from processes import llama_process, stock_beside_our_ggml

SELECT_K = 1024
LAYER = 14

CALIBRATED = "calibrated"
CONTESTANTS: dict[str, tuple[str, int | None, str]] = {  # policy, kv_budget, what it is
    "stock": ("stock", None, "unpatched llama.cpp"),
    "short": ("stock", None, f"unpatched llama.cpp, the last {SELECT_K} tokens alone"),
    "full": ("full", None, "ours, kv_policy=full"),
    "unpruned": (
        f"asl:tau=1e-9,l_max=none,select_k={SELECT_K}",
        None,
        "ours, layer by layer, the rule never fires",
    ),
    "layer14": (f"asl:layer={LAYER},select_k={SELECT_K}", None, f"ours, selection at layer {LAYER}"),
    "asl": (f"asl:select_k={SELECT_K}", None, "ours, asl as it comes"),
    "calibrated": (CALIBRATED, None, "ours, asl with the model's calibration"),
    "budget": (CALIBRATED, SELECT_K, f"ours, asl with the model's calibration, kv_budget={SELECT_K}"),
    "snapkv": ("snapkv", SELECT_K, f"ours, snapkv, kv_budget={SELECT_K}"),
    "gemfilter": (f"gemfilter:select_k={SELECT_K}", None, "ours, gemfilter"),
}
DEFAULT = "stock,short,full,unpruned,asl,calibrated,budget"


def ideal(n: int, n_layer: int, layer: int) -> float:
    """Share of the tokens x layers that remain when k tokens go on after `layer`."""
    return ((layer + 1) * n + (n_layer - layer - 1) * min(n, SELECT_K)) / (n_layer * n)


def measure(args: argparse.Namespace, n: int, repeats: int, tokens: list[int]) -> dict[str, Any]:
    """All contestants at one length, in turn, `repeats` rounds, the order turned round every other time."""
    task = {"model": args.model, "threads": args.threads, "n_decode": args.decode}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in args.contestants}
    for i in range(repeats):
        for name in args.contestants[:: -1 if i % 2 else 1]:
            # a new process each time: where its memory happens to lie is worth some per cent
            policy, budget, _ = CONTESTANTS[name]
            policy = probe.calibrated(args.model, SELECT_K) if policy == CALIBRATED else policy
            prompt = tokens[-SELECT_K:] if name == "short" else tokens
            process = llama_process({**task, "policy": policy, "kv_budget": budget}, prompt, args.stock)
            result = process.run()
            process.close()
            runs[name].append(result)
            speed = f"{result['prefill_s']:8.2f} s  {result['decode_tok_s']:6.1f} tok/s"
            print(f"n={n} {name:>9} {speed}", flush=True)
    return {"n": n, "runs": runs}


def summarize(result: dict[str, Any], model: probe.Model) -> list[dict[str, Any]]:
    """One row a contestant: medians, and the medians of the ratios to stock round by round."""
    n, runs = result["n"], result["runs"]
    rows = []
    for name, own in runs.items():
        pairs = list(zip(own, runs["stock"], strict=True))
        report = own[-1].get("report")
        layer = report["selection_layer"] if report else None
        stock_bytes = model.stock_kv_bytes((SELECT_K if name == "short" else n) + 256)
        used = sum(report["cells"]) * model.cell_bytes if report and report["cells"] else None
        rows.append(
            {
                "contestant": name,
                "n": n,
                "prefill_s": statistics.median(run["prefill_s"] for run in own),
                "prefill_ratio": statistics.median(a["prefill_s"] / b["prefill_s"] for a, b in pairs),
                "prefill_cpu_ratio": statistics.median(a["prefill_cpu_s"] / b["prefill_cpu_s"] for a, b in pairs),
                "ideal_ratio": 1.0 if layer is None else ideal(n, model.n_layer, layer),
                "decode_tok_s": statistics.median(run["decode_tok_s"] for run in own),
                "decode_ratio": statistics.median(a["decode_tok_s"] / b["decode_tok_s"] for a, b in pairs),
                "decode_ratio_to_short": _against(own, runs.get("short")),
                "selection_layer": layer,
                "kv_bytes_used": used,
                "kv_bytes": report["kv_bytes"] if report else stock_bytes,
                "peak_kv_bytes": report["peak_kv_bytes"] if report else stock_bytes,
                "peak_rss": max(run["peak_rss"] for run in own),
                "same_tokens_as_stock": all(a["tokens"] == b["tokens"] for a, b in pairs),
            }
        )
    return rows


def _against(own: list[dict[str, Any]], other: list[dict[str, Any]] | None) -> float | None:
    if not other:
        return None
    return statistics.median(a["decode_tok_s"] / b["decode_tok_s"] for a, b in zip(own, other, strict=True))


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| prompt | contestant | selection layer | prefill s | / stock | ideal "
        "| decode tok/s | / stock | / short | KV MiB | peak KV MiB | peak RSS MiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        layer = "-" if row["selection_layer"] is None else row["selection_layer"]
        short = row["decode_ratio_to_short"]
        mib = [f"{row[key] / 2**20:.1f}" for key in ("kv_bytes", "peak_kv_bytes", "peak_rss")]
        lines.append(
            f"| {row['n']} | {CONTESTANTS[row['contestant']][2]} | {layer} | {row['prefill_s']:.2f} "
            f"| {row['prefill_ratio']:.3f} | {row['ideal_ratio']:.3f} | {row['decode_tok_s']:.1f} "
            f"| {row['decode_ratio']:.2f} | {'-' if short is None else f'{short:.2f}'} | {' | '.join(mib)} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--stock", type=Path, required=True, help="folder of the unpatched libllama (make test builds it)"
    )
    parser.add_argument("--model", default=None, help="GGUF file; default: the installed SmolLM2-135M-Instruct")
    parser.add_argument("--lengths", default="2048,4096,7936", help="prompt lengths in tokens")
    parser.add_argument("--contestants", default=DEFAULT, help="stock must be among them")
    parser.add_argument("--repeats", default="7,5,5", help="rounds, one number for all lengths or one for each")
    parser.add_argument("--decode", type=int, default=64, help="tokens to decode after each prefill")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--name", default=None, help="name of the result files; default: the processor")
    args = parser.parse_args()
    args.stock = args.stock.resolve()
    args.contestants = args.contestants.split(",")
    args.model = args.model or probe.default_model()
    lengths, repeats = ([int(number) for number in text.split(",")] for text in (args.lengths, args.repeats))
    args.rounds = list(zip(lengths, repeats * len(lengths) if len(repeats) == 1 else repeats, strict=False))

    model = probe.Model(args.model)
    document = probe.document_tokens(args.model)
    with tempfile.TemporaryDirectory() as folder:
        args.stock = stock_beside_our_ggml(args.stock, Path(folder))
        results = [measure(args, n, repeats, probe.prompt(document, n)) for n, repeats in args.rounds]
    rows = [row for result in results for row in summarize(result, model)]
    note = f", medians of {args.repeats} rounds"
    probe.write_results("prefill", args, rows, table(rows), note, select_k=SELECT_K, results=results)


if __name__ == "__main__":
    main()
