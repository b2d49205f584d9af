"""One layer-wise prefill: the engine runs the layers, the policy's selector says where to prune, a report tells."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..engine.binding import Engine
from ..policies import Policy
from .contrast import Contrast
from .describe import describe
from .known import KEEP_NOTHING, NOTHING_KNOWN, Keep, Known
from .layer_run import LayerRun
from .report import OnProgress, PrefillReport


def prefill(
    engine: Engine,
    policy: Policy,
    tokens: Sequence[int],
    headroom: int = 256,
    on_progress: OnProgress | None = None,
    keep: int | None = None,
    known: Known = NOTHING_KNOWN,
    document: Keep = KEEP_NOTHING,
    contrast: Contrast | None = None,
    by_host: bool = False,
    choosing: bool = False,
) -> PrefillReport:
    """Prefill `tokens` layer by layer under `policy`.

    The context then decodes from position n, or from position select_k if the policy works in two passes and pruned:
    see the report's `position_shift`.

    Args:
        engine: of the context to fill; what it held is dropped.
        policy: layer numbers may be "auto". With n <= select_k no token is dropped.
        tokens: n token ids, n > window.
        headroom: KV cells reserved per layer for decoding; they grow when they run out.
        on_progress: called before each ubatch; its exception stops the prefill and is raised from here.
        keep: KV cells that each layer and KV head keeps, the window included (SnapKV's budget); None: all of them.
        known: first tokens whose state is there, in the engine (`Engine.hold`) or on the host; at least `window`
            tokens follow them. Nothing is pruned before the layer that they have run through; if these are all
            layers, nothing at all.
        document: first tokens whose state is to be kept as it is at the selection layer, or after the last one. The
            engine cannot hold them if layers are compressed, run twice, or keep a ring of cells: then give a copier.
        contrast: a turn that asks nothing, at least `known.n` tokens behind the beginning. It changes the selection
            only if the policy says so, and what a document's passages are ranked by.
        by_host: if only the selected cells are to stay (the policy's `keep`), layers wait for the selection on the
            host, so that one at a time is on the device as a whole. What is known must not be held by the engine then.
        choosing: stop at the selection, which the report then tells: the context is left empty, but for a document
            that is held.

    Raises:
        ValueError: a layer of the policy is not in the model, or the tokens do not fit the context.
        MemoryError, UnsupportedModelError, EngineError: see `Engine`; the context is then empty and usable.
    """
    start = time.perf_counter()
    arguments = (engine, policy, tokens, headroom, keep, on_progress)
    state = LayerRun(*arguments, known, document, contrast, by_host, choosing)
    engine.progress = state.progress
    try:
        state.begin()
        decision = state.run()
        if not choosing:
            engine.end()
        elif not engine.set_aside():
            engine.abort()
    except BaseException:
        # the engine may have ended the prefill, and kept the document, which it knows best
        info = engine.info()
        if (info.n_tokens > 0 or not info.held_in_cache) and not engine.set_aside():
            engine.abort()
        raise
    finally:
        engine.progress = None
    state.seconds["total"] = time.perf_counter() - start

    report = describe(engine, policy, len(tokens), state.full_cells)
    report.peak_kv_bytes = max(report.peak_kv_bytes, state.peak_bytes)
    report.keep, report.host_bytes = keep, state.keeping.host_bytes
    report.reused, report.reused_layers = state.known.n, state.known.il
    report.run = state.run_by_layer
    report.reason = state.selector.reason
    report.relative_variance = dict(state.selector.relative_variance)
    report.seconds = state.seconds
    if state.looking.shown is not None:
        shown = state.looking.shown
        report.shown, report.shown_layer, report.contrasted = shown.scores, shown.layer, shown.contrasted
    if decision is not None:
        report.selection_layer = state.pruned_after
        report.forced = decision.forced
        report.selected = state.positions
        report.scores, report.scores_layer = decision.scores, decision.layer
        if state.pruned_after != decision.layer:
            report.reason += f", by the scores of layer {decision.layer}: the document had run on before"
        report.position_shift = len(tokens) - len(decision.positions) if policy.two_passes else 0
    elif state.selector.decision is not None:
        report.reason += "; but that is the last layer, and nothing deeper is left to prune"
    return report
