"""Who takes part in compare, all of them keeping the same share of the prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import probe
from benchmarks.common.processes import ROOT, Process, llama_process

TORCH_PYTHON = ROOT / "build" / "compare-venv" / "bin" / "python"
TORCH_MODEL = ROOT / "build" / "benchmarks" / "dequantized"


@dataclass(frozen=True)
class Contest:
    """What all contestants have in common; `k`: tokens, or cells, that those that prune keep."""

    model: str
    n_layer: int
    n: int
    k: int
    threads: int
    n_decode: int
    stock: Path
    dtype: str
    rounds: int

    @property
    def half(self) -> int:
        """The layer half way, counted from 0."""
        return self.n_layer // 2 - 1

    @property
    def compression(self) -> float:
        """Share of the cells that a press removes."""
        return 1 - self.k / self.n


@dataclass(frozen=True)
class Contestant:
    """label: for tables and pictures; start: a process with the model loaded and warm."""

    label: str
    start: Callable[[Contest, list[int]], Process]


def _llama(
    label: str,
    policy: Callable[[Contest], str],
    kv_type: str = "f16",
    budget: bool = False,
    short: bool = False,
) -> Contestant:
    def start(contest: Contest, tokens: list[int]) -> Process:
        task = {
            "model": contest.model,
            "threads": contest.threads,
            "n_decode": contest.n_decode,
            "policy": policy(contest),
            "kv_budget": contest.k if budget else None,
            "kv_type": kv_type,
            "document_min": None,  # no state is kept for a further question: kvpress keeps none either
        }
        return llama_process(task, tokens[-contest.k :] if short else tokens, contest.stock)

    return Contestant(label, start)


def _torch(label: str, press: str | None) -> Contestant:
    def start(contest: Contest, tokens: list[int]) -> Process:
        task: dict[str, Any] = {
            "folder": str(TORCH_MODEL),
            "threads": contest.threads,
            "n_decode": contest.n_decode,
            "dtype": contest.dtype,
            "press": press,
            "compression": contest.compression,
        }
        return Process([str(TORCH_PYTHON), "-m", "benchmarks.compare.torch_worker"], task, tokens, {})

    return Contestant(label, start)


CONTESTANTS: dict[str, Contestant] = {
    "stock": _llama("llama.cpp", lambda c: "stock"),
    "stock-q8": _llama("llama.cpp, KV in q8_0", lambda c: "stock", kv_type="q8_0"),
    "short": _llama("llama.cpp, the last tokens alone", lambda c: "stock", short=True),
    "full": _llama("full", lambda c: "full"),
    "asl": _llama("asl", lambda c: f"asl:select_k={c.k}"),
    "asl-q8": _llama("asl, KV in q8_0", lambda c: f"asl:select_k={c.k}", kv_type="q8_0"),
    "asl-calibrated": _llama("asl, calibrated", lambda c: probe.calibrated(c.model, c.k)),
    "asl-half": _llama("asl, layer half way", lambda c: f"asl:layer={c.half},select_k={c.k}"),
    "fastkv": _llama("fastkv", lambda c: f"fastkv:select_k={c.k}"),
    "asl-budget": _llama("asl, calibrated, kv_budget", lambda c: probe.calibrated(c.model, c.k), budget=True),
    "snapkv": _llama("snapkv", lambda c: "snapkv", budget=True),
    "gemfilter": _llama("gemfilter", lambda c: f"gemfilter:select_k={c.k}"),
    "asl-2pass": _llama("asl-2pass", lambda c: f"asl-2pass:select_k={c.k}"),
    "torch": _torch("transformers", None),
    "kvpress-snapkv": _torch("kvpress SnapKVPress", "SnapKVPress"),
    "kvpress-expected": _torch("kvpress ExpectedAttentionPress", "ExpectedAttentionPress"),
}
"""kvpress: any class of it that takes a compression_ratio alone."""

DEFAULT = [name for name in CONTESTANTS if name != "kvpress-expected"]


def needs_torch(names: list[str]) -> bool:
    return any(name == "torch" or name.startswith("kvpress") for name in names)
