"""One layer-wise prefill: the engine runs the layers, the policy's selector says where to prune, a report tells."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import llama_cpp
import numpy as np

from .engine.binding import Engine, LayerInfo, kv_bytes
from .policies import ASL, Policy
from .report import PrefillReport, Progress
from .selection import Decision, Selector

OnProgress = Callable[[Progress], object]


class _Prefill:
    """State of one run: which layer is next, what was decided, and how long each phase took."""

    def __init__(self, engine: Engine, policy: ASL, tokens: Sequence[int], on_progress: OnProgress | None) -> None:
        self.engine = engine
        self.layers = [engine.layer(il) for il in range(engine.info().n_layer)]
        scored = [il for il, layer in enumerate(self.layers) if not layer.is_swa]
        self.selector = Selector(policy.resolve(len(self.layers)), len(tokens), scored)
        self.on_progress = on_progress
        self.phase = "shallow"
        self.seconds = {"shallow": 0.0, "selection": 0.0, "deep": 0.0}
        self.il = 0

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - start

    def progress(self, il_begin: int, il_end: int, done: int, n_tokens: int) -> None:
        if self.on_progress is not None:
            layer = il_begin + (il_end - il_begin) * done // n_tokens
            self.on_progress(Progress(layer, len(self.layers), done, n_tokens, self.phase))

    def run_to(self, il_end: int, scores: bool = False) -> None:
        if self.il < il_end:
            with self.timed(self.phase):
                self.engine.run(self.il, il_end, scores)
            self.il = il_end

    def decide(self, il_begin: int) -> Decision | None:
        """Show the selector the layers that have just run."""
        with self.timed("selection"):
            for il in range(il_begin, self.il):
                sums = self.engine.scores(il) if self.selector.needs_scores(il) else None
                decision = self.selector.observe(il, sums)
                if decision is not None:
                    return decision
        return None

    def find_layer(self) -> Decision | None:
        """Run layers until the selector decides: those up to the first possible decision together."""
        n_layer = len(self.layers)
        first = self.selector.first_scored_layer
        if first is not None:
            self.run_to(min(first, n_layer))
            while self.il < n_layer:
                begin = self.il
                self.run_to(min(max(begin, self.selector.first_decision_layer) + 1, n_layer), scores=True)
                decision = self.decide(begin)
                if decision is not None:
                    return decision
        self.run_to(n_layer)
        return None

    def run(self) -> Decision | None:
        """Run all layers; the decision that was acted on."""
        decision = self.find_layer()
        if decision is None or self.il == len(self.layers):
            return None
        with self.timed("selection"):
            self.engine.keep(decision.positions)
        self.phase = "deep"
        self.run_to(len(self.layers))
        return decision


def prefill(
    engine: Engine,
    policy: ASL,
    tokens: Sequence[int],
    headroom: int = 256,
    on_progress: OnProgress | None = None,
) -> PrefillReport:
    """Prefill `tokens` at positions 0..n-1 with selective propagation; the context then decodes from position n.

    Args:
        engine: of the context to fill; what it held is dropped.
        policy: layer numbers may be "auto". With n <= select_k nothing is pruned.
        tokens: n token ids, n > window.
        headroom: KV cells reserved per layer for decoding; they grow when they run out.
        on_progress: called before each ubatch; its exception stops the prefill and is raised from here.

    Raises:
        ValueError: a layer of the policy is not in the model, or the tokens do not fit the context.
        MemoryError, UnsupportedModelError, EngineError: see `Engine`; the context is then empty and usable.
    """
    start = time.perf_counter()
    state = _Prefill(engine, policy, tokens, on_progress)
    engine.progress = state.progress
    engine.begin(tokens, min(policy.window, len(tokens)), headroom)
    try:
        decision = state.run()
        engine.end()
    except BaseException:
        engine.abort()
        raise
    finally:
        engine.progress = None
    state.seconds["total"] = time.perf_counter() - start

    report = describe(engine, policy, len(tokens))
    report.reason = state.selector.reason
    report.relative_variance = dict(state.selector.relative_variance)
    report.seconds = state.seconds
    if decision is not None:
        report.selection_layer = decision.layer
        report.forced = decision.forced
        report.selected = decision.positions
    elif state.selector.decision is not None:
        report.reason += "; but that is the last layer, and nothing deeper is left to prune"
    return report


def whole_report(engine: Engine | None, ctx: Any, policy: Policy, n_prompt: int) -> PrefillReport:
    """The report of a prompt that was evaluated as a whole by `ctx`, a ctypes llama_context_p."""
    if engine is not None and isinstance(policy, ASL):
        report = describe(engine, policy, n_prompt)
        report.reason = f"the prompt's {n_prompt} tokens fit select_k={policy.select_k}"
        return report
    n_layer = llama_cpp.llama_model_n_layer(llama_cpp.llama_get_model(ctx))
    size = kv_bytes(ctx)
    report = PrefillReport(str(policy), n_prompt, n_layer, reason="the policy keeps everything")
    report.kv_bytes = report.kv_bytes_full = report.peak_kv_bytes = size
    return report


def describe(engine: Engine, policy: ASL, n_prompt: int) -> PrefillReport:
    """A report of what the context holds now, from the engine's own buffers; nothing pruned is assumed."""
    info = engine.info()
    layers = [engine.layer(il) for il in range(info.n_layer)]
    return PrefillReport(
        policy=str(policy),
        n_prompt=n_prompt,
        n_layer=info.n_layer,
        tau=policy.tau if policy.layer is None else None,
        cells=[layer.n_cells for layer in layers],
        kv_bytes=info.kv_bytes,
        kv_bytes_full=_unpruned_bytes(layers),
        peak_kv_bytes=info.kv_bytes_peak,
    )


def _unpruned_bytes(layers: Sequence[LayerInfo]) -> int:
    """Bytes if every layer had as many cells as the fullest one of its kind, full attention or sliding window."""
    full = {
        is_swa: max((layer.n_cells_max for layer in layers if layer.is_swa == is_swa), default=0)
        for is_swa in (False, True)
    }
    sizes = [layer.bytes * full[layer.is_swa] // layer.n_cells_max for layer in layers if layer.n_cells_max]
    return int(np.sum(sizes, dtype=np.int64))
