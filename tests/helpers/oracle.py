"""Figures recorded from the paper's reference code, for the tests of the maths and of the engine.

Read from ../shared/oracle beside the repository where it is, else from the extract in tests/data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from places import ROOT, TESTS

RECORDED = ROOT.parent / "shared" / "oracle"
EXTRACT = TESTS / "data"
WINDOW, KERNEL, L_OBS, N_LAYER = 32, 7, 8, 30


@dataclass(frozen=True)
class Run:
    """One run of the reference. `params` is empty for the full run.

    `selected_layer` is None where nothing was selected, and `selected` (int32, sorted) with it. `greedy` is
    up to 24 tokens, `cells` the KV cells per layer after prefill. A `derived` run was not executed: it equals
    the full or the SnapKV run.
    """

    name: str
    params: dict[str, Any]
    selected_layer: int | None
    relative_variance: list[float]
    greedy: list[int]
    cells: list[int]
    selected: NDArray[np.int32] | None
    derived: bool

    @property
    def is_asl(self) -> bool:
        """The rule chose the layer, and no KV budget changed what deeper layers saw."""
        return "tau" in self.params and self.params["cache_k"] is None


@dataclass(frozen=True)
class Prompt:
    id: str
    kind: str
    answer: str | None
    tokens: NDArray[np.int32]
    trajectory: dict[str, dict[str, Any]]
    ties: dict[str, Any]
    runs: dict[str, Run]

    @property
    def n(self) -> int:
        return len(self.tokens)


def folder() -> Path:
    return RECORDED if (RECORDED / "index.json").exists() else EXTRACT


@cache
def prompts() -> list[Prompt]:
    index = json.loads((folder() / "index.json").read_text())
    return [_prompt(entry) for entry in index["prompts"]]


def _prompt(entry: dict[str, Any]) -> Prompt:
    arrays = _arrays(entry["id"])
    runs = {}
    for name, run in entry["runs"].items():
        runs[name] = Run(
            name=name,
            params=run["params"],
            selected_layer=run.get("selected_layer"),
            relative_variance=run.get("relative_variance") or [],
            greedy=run.get("greedy") or [],
            cells=run.get("kv_lens_prefill") or [],
            selected=arrays.get(f"{name}_idx"),
            derived=bool(run.get("derived_from_full") or run.get("derived_from_snapkv")),
        )
    keep = ("id", "kind", "answer", "trajectory", "ties")
    return Prompt(**{key: entry[key] for key in keep}, tokens=arrays["tokens"], runs=runs)


def scores(prompt: Prompt) -> NDArray[np.float32]:
    """Pooled scores summed over the heads, float32 [30, n - 32]."""
    return _arrays(prompt.id)["scores"]


def ranks(prompt: Prompt) -> NDArray[np.int16]:
    """The reference's ranks, int16 [30, n - 32], 1 = best; it leaves ties to an unstable sort."""
    return _arrays(prompt.id)["ranks"]


def full_logits(prompt: Prompt) -> NDArray[np.float32] | None:
    """The unpruned model's logits after the prompt, float32 [49152]; None where the extract has none."""
    return _arrays(prompt.id).get("full_logits")


def unit_cases() -> list[dict[str, Any]]:
    """Small exact cases of the scores: q [h, n, d], k [hk, n, d], scores, ranks, and what `meta` names."""
    arrays = _arrays("unit_qk")
    names = ("h", "hk", "d", "n", "window", "kernel", "is_maxpool", "cache_k")
    cases = []
    for i in range(sum(name.endswith("_meta") for name in arrays)):
        case: dict[str, Any] = dict(zip(names, arrays[f"{i}_meta"].tolist(), strict=True))
        case |= {name: arrays[f"{i}_{name}"] for name in ("q", "k", "scores", "ranks", "cache_idx_sorted")}
        cases.append(case)
    return cases


@cache
def _arrays(name: str) -> dict[str, NDArray[Any]]:
    with np.load(folder() / f"{name}.npz") as archive:
        return dict(archive)
