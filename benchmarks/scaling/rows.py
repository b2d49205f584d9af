"""The results of scaling on a CPU: whole models composed of measured layers, and the tables of them."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.scaling.composed import (
    Costs,
    curve,
    ideal_arithmetic,
    ideal_attention,
    ideal_tokens,
    planned,
    seconds,
    specs,
    split,
)
from benchmarks.scaling.shapes import SHAPES

LENGTHS = [2048, 4096, 8192, 16384, 32768, 65536, 131072]
SHOWN = [4096, 8192, 32768, 131072]
"""In the table; the picture and the JSON file have all of them."""

MIB = 2**20

Layers = dict[str, list[dict[str, float]]]


def medians(found: Layers, key: str) -> dict[int, float]:
    """By length, where it was measured."""
    return {int(n): statistics.median(run[key] for run in runs) for n, runs in found.items() if key in runs[0]}


def costs(found: Layers, attention: Layers) -> tuple[Costs, set[int]]:
    """Seconds of a layer: as measured where they were, else of a curve through what was; and the measured lengths.

    Scores and compression look at every token once, so they are taken as growing with the length; scores never cost
    less than nothing, whatever the noise of two measurements says.
    """
    plain, compress, deep = (medians(found, key) for key in ("plain_s", "compress_s", "deep_s"))
    if not deep:
        raise SystemExit("no length exceeds --k: nothing would be pruned")
    fitted, per_token = (
        curve(plain, medians(attention, "plain_s")),
        statistics.median(value / n for n, value in compress.items()),
    )
    added = {
        int(n): statistics.median(run["scored_s"] - run["plain_s"] for run in runs) / int(n)
        for n, runs in found.items()
    }
    score = max(0.0, statistics.median(added.values()))

    def plain_at(n: int) -> float:
        return plain[n] if n in plain else fitted(n)

    deepest = statistics.median(deep.values())
    return Costs(plain_at, lambda n: plain_at(n) + score * n, lambda n: per_token * n, deepest), set(plain)


def rows(results: dict[str, Layers], attention: dict[str, Layers], k: int) -> list[dict[str, Any]]:
    """One row for each shape, length and policy; `measured` says whether the layers of this length were timed."""
    made = []
    for name, found in results.items():
        shape, (cost, lengths) = SHAPES[name], costs(found, attention[name])
        for n in (n for n in LENGTHS if n > k):
            full = seconds(split(shape, "full", None), cost, n)
            for policy, (spec, budget) in specs(shape, k).items():
                parts = split(shape, spec, budget)
                taken, memory = seconds(parts, cost, n), planned(shape, spec, budget, n)
                made.append(
                    {
                        "shape": name,
                        "policy": policy,
                        "n": n,
                        "measured": n in lengths,
                        "prefill_s": taken,
                        "prefill_ratio": taken / full,
                        "ideal_tokens": ideal_tokens(shape, parts, n, k),
                        "ideal_attention": ideal_attention(shape, parts, n, k),
                        "ideal_arithmetic": ideal_arithmetic(shape, parts, n, k),
                        "kv_bytes": memory.kv_bytes,
                        "peak_kv_bytes": memory.peak_kv_bytes,
                    }
                )
    return made


def _layer_table(results: dict[str, Layers]) -> list[str]:
    lines = ["| shape | tokens | one layer, s | with scores, s | compression, s | on the selected tokens, s |"]
    lines.append("| --- " * 6 + "|")
    for name, found in results.items():
        for n in map(int, found):
            values = [medians(found, key).get(n) for key in ("plain_s", "scored_s", "compress_s", "deep_s")]
            texts = ["-" if value is None else f"{value:.4f}" for value in values]
            lines.append(f"| {name} | {n} | {' | '.join(texts)} |")
    return lines


def _attention_table(attention: dict[str, Layers]) -> list[str]:
    lines = ["| shape | tokens | attention of one layer, s |", "| --- | --- | --- |"]
    for name, found in attention.items():
        lines += [f"| {name} | {n} | {value:.4f} |" for n, value in medians(found, "plain_s").items()]
    return lines


def _composed_table(made: list[dict[str, Any]]) -> list[str]:
    head = "| shape | prompt | policy | layers timed at this length | prefill s | / full | ideal: tokens x layers "
    lines = [f"{head}| ideal: attention | ideal: all arithmetic | KV MiB | peak KV MiB |", "| --- " * 11 + "|"]
    for row in (row for row in made if row["n"] in SHOWN):
        ideals = " | ".join(f"{row[f'ideal_{kind}']:.3f}" for kind in ("tokens", "attention", "arithmetic"))
        sizes = " | ".join(f"{row[key] / MIB:,.0f}" for key in ("kv_bytes", "peak_kv_bytes"))
        lines.append(
            f"| {row['shape']} | {row['n']} | {row['policy']} | {'yes' if row['measured'] else 'no, fitted'} "
            f"| {row['prefill_s']:.1f} | {row['prefill_ratio']:.3f} | {ideals} | {sizes} |"
        )
    return lines


def _memory_table(checks: list[dict[str, Any]]) -> list[str]:
    lines = ["| shape | prompt | policy | KV MiB, measured | planned | peak KV MiB, measured | planned |"]
    lines.append("| --- " * 7 + "|")
    for row in checks:
        keys = ("kv_bytes", "planned_kv_bytes", "peak_kv_bytes", "planned_peak_kv_bytes")
        sizes = " | ".join(f"{row[key] / MIB:.2f}" for key in keys)
        lines.append(f"| {row['shape']} | {row['n']} | {row['policy']} | {sizes} |")
    return lines


def tables(
    results: dict[str, Layers], attention: dict[str, Layers], made: list[dict[str, Any]], checks: list[dict[str, Any]]
) -> str:
    """Markdown of what was measured, and of what was composed of it."""
    return "\n".join(
        [
            "Measured: seconds of one middle layer.\n",
            *_layer_table(results),
            "\nMeasured: seconds of one layer with all heads and thin matrices, which is attention.\n",
            *_attention_table(attention),
            "\nComposed of these layers, not measured end to end; KV planned, f16.\n",
            *_composed_table(made),
            "\nMeasured: KV of models with the same layers and KV heads, and thin matrices.\n",
            *_memory_table(checks),
        ]
    )
