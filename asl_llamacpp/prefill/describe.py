"""Reports of what a context holds: after a layer-wise prefill, or of a prompt that was evaluated as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np

from ..engine.binding import Engine, LayerInfo, kv_bytes
from ..policies import Policy
from .report import PrefillReport


def whole_report(engine: Engine | None, ctx: Any, policy: Policy, n_prompt: int, n_past: int = 0) -> PrefillReport:
    """The report of a prompt that was evaluated as a whole by `ctx`, a ctypes llama_context_p, which had `n_past`."""
    if engine is not None:
        report = describe(engine, policy, n_prompt)
        if policy.size is not None:
            report.reason = f"the prompt's {n_prompt} tokens fit {policy.size}={getattr(policy, policy.size)}"
    else:
        n_layer = llama_cpp.llama_model_n_layer(llama_cpp.llama_get_model(ctx))
        size = kv_bytes(ctx)
        report = PrefillReport(str(policy), n_prompt, n_layer, reason="the policy keeps everything")
        report.kv_bytes = report.kv_bytes_full = report.peak_kv_bytes = size
    report.reused, report.reused_layers = n_past, report.n_layer if n_past else 0
    report.run = [n_prompt - n_past] * report.n_layer
    return report


def describe(engine: Engine, policy: Policy, n_prompt: int, full_cells: int = 0) -> PrefillReport:
    """A report of what the context holds now, from the engine's own buffers; nothing pruned is assumed.

    `full_cells`: cells that a full-attention layer needs for the whole prompt, if no layer is left with so many.
    """
    info = engine.info()
    layers = [engine.layer(il) for il in range(info.n_layer)]
    return PrefillReport(
        policy=str(policy),
        n_prompt=n_prompt,
        n_layer=info.n_layer,
        tau=policy.threshold,
        cells=[layer.n_cells for layer in layers],
        kv_bytes=info.kv_bytes,
        kv_bytes_full=_unpruned_bytes(layers, full_cells),
        peak_kv_bytes=info.kv_bytes_peak,
    )


def _unpruned_bytes(layers: Sequence[LayerInfo], full_cells: int) -> int:
    """Bytes if every layer had as many cells as the fullest one of its kind, full attention or sliding window."""
    full = {
        is_swa: max((layer.n_cells_max for layer in layers if layer.is_swa == is_swa), default=0)
        for is_swa in (False, True)
    }
    full[False] = max(full[False], full_cells)
    sizes = [layer.bytes * full[layer.is_swa] // layer.n_cells_max for layer in layers if layer.n_cells_max]
    return int(np.sum(sizes, dtype=np.int64))
