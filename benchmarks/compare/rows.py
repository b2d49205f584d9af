"""The results of compare: one row for each contestant and length, and the table of them."""

from __future__ import annotations

import statistics
from typing import Any

from asl_llamacpp.budget.kv_shape import KVShape
from asl_llamacpp.budget.model_shape import kv_type, read_shape, stock_kv_bytes
from asl_llamacpp.engine.log import silence_llama_cpp
from benchmarks.common import probe
from benchmarks.compare.contestants import CONTESTANTS, Contest

MIB = 2**20


def _stock_bytes(contest: Contest, name: str, n: int) -> int:
    """KV of stock llama.cpp for `n` tokens and 256 more, as it allocates it."""
    kind = kv_type("q8_0" if name == "stock-q8" else "f16")
    silence_llama_cpp()
    layers = read_shape(contest.model).layers
    return stock_kv_bytes(contest.model, KVShape(layers=layers, n_ctx=n + 256, type_k=kind, type_v=kind))


def _same(tokens: list[int], others: list[int]) -> int:
    """How many first tokens of the answer are the same."""
    pairs = zip(tokens, others, strict=True)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(tokens))


def _row(contest: Contest, name: str, runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    own, stock = runs[name], runs["stock"]
    pairs = list(zip(own, stock, strict=True))
    short = list(zip(own, runs["short"], strict=True)) if "short" in runs else []
    last = own[-1]
    report = last.get("report")
    if report is not None:
        kv, peak, cells = report["kv_bytes"], report["peak_kv_bytes"], report["cells"]
    elif "kv_bytes" in last:
        kv, peak, cells = last["kv_bytes"], None, last["cells"]  # nobody counts what lives within a layer
    else:
        kv = peak = _stock_bytes(contest, name, contest.k if name == "short" else contest.n)
        cells = []
    grown = [run["rss_growth"] for run in own if run["rss_growth"] is not None]
    return {
        "contestant": name,
        "label": CONTESTANTS[name].label,
        "n": contest.n,
        "k": contest.k,
        "rounds": len(own),
        "prefill_s": statistics.median(run["prefill_s"] for run in own),
        "prefill_range_s": [min(run["prefill_s"] for run in own), max(run["prefill_s"] for run in own)],
        "prefill_ratio": statistics.median(a["prefill_s"] / b["prefill_s"] for a, b in pairs),
        "decode_tok_s": statistics.median(run["decode_tok_s"] for run in own),
        "decode_ratio": statistics.median(map(_decode, pairs)),
        "decode_ratio_to_short": statistics.median(_decode(pair) for pair in short) if short else None,
        "selection_layer": report["selection_layer"] if report else None,
        "ideal": 1.0 if report is None else _ideal(contest, report["selection_layer"], name),
        "cells": cells,
        "kv_bytes": kv,
        "peak_kv_bytes": peak,
        "peak_rss": max(run["peak_rss"] for run in own),
        "rss_growth": max(grown) if grown else None,
        "same_tokens": min(_same(a["tokens"], b["tokens"]) for a, b in pairs),
        "n_tokens": len(last["tokens"]),
    }


def _decode(pair: tuple[dict[str, Any], dict[str, Any]]) -> float:
    return float(pair[0]["decode_tok_s"] / pair[1]["decode_tok_s"])


def _ideal(contest: Contest, layer: int | None, name: str) -> float:
    """Share of the unpruned prefill's tokens times layers; two passes run the selected tokens through all layers."""
    if layer is None:
        return 1.0
    n_layer = contest.n_layer
    deep = n_layer if name in ("gemfilter", "asl-2pass") else n_layer - layer - 1
    return probe.ideal(n_layer, layer + 1, deep, contest.n, contest.k)


def rows(contests: list[Contest], names: list[str], n_rounds: int, known: dict[str, Any]) -> list[dict[str, Any]]:
    """Medians over the rounds so far, and medians of the ratios round by round; `known`: of the journal."""
    found = []
    for contest in contests:
        done = range(min(n_rounds, contest.rounds))
        runs = {name: [known[f"{name} {contest.n} {i}"] for i in done] for name in names}
        found += [_row(contest, name, runs) for name in names]
    return found


def _mib(n_bytes: int | None) -> str:
    return "-" if n_bytes is None else f"{n_bytes / MIB:.1f}"


def table(found: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| prompt | contestant | selection layer | prefill s | / llama.cpp | ideal | decode tok/s | / llama.cpp "
        "| / short | KV MiB | peak KV MiB | peak RSS MiB | same tokens |",
        "| --- " * 13 + "|",
    ]
    for row in found:
        layer = "-" if row["selection_layer"] is None else row["selection_layer"]
        ratio = row["decode_ratio_to_short"]
        short = "-" if ratio is None else f"{ratio:.2f}"
        sizes = " | ".join(_mib(row[key]) for key in ("kv_bytes", "peak_kv_bytes", "peak_rss"))
        lines.append(
            f"| {row['n']} | {row['label']} | {layer} | {row['prefill_s']:.2f} | {row['prefill_ratio']:.2f} "
            f"| {row['ideal']:.2f} | {row['decode_tok_s']:.1f} | {row['decode_ratio']:.2f} | {short} | {sizes} "
            f"| {row['same_tokens']} of {row['n_tokens']} |"
        )
    return "\n".join(lines)
