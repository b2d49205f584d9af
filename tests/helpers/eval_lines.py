"""Lines of evaluation results, made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def line(task: str, sample: int, policy: str, score: float, **values: Any) -> dict[str, Any]:
    made = {"model": "m", "task": task, "length": 1024, "sample": sample, "seed": 0, "policy": policy, "budget": None}
    made |= {"family": "RULER", "model_name": "tiny.gguf", "prompt": f"{task}{sample}", "score": score}
    made |= {"prefill_seconds": 1.5, "selection_layer": None, "forced": False, "n_selected": 1024}
    return made | {"kv_bytes": 50, "kv_bytes_full": 100, "kept": None, "meta": {}} | values


def lines(task: str, policy: str, scores: Sequence[float], **values: Any) -> list[dict[str, Any]]:
    return [line(task, i, policy, score, **values) for i, score in enumerate(scores)]
