"""The prefill of a model that is given its tokens: another one has chosen them, so every layer runs on these alone."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..engine.binding import Engine
from ..policies.read_by import ReadBy
from ..selection.arrays import Ints
from .describe import describe
from .report import OnProgress, PrefillReport, Progress


def answering(
    engine: Engine,
    policy: ReadBy,
    tokens: Sequence[int],
    chosen: Ints,
    headroom: int,
    full_cells: int,
    on_progress: OnProgress | None = None,
) -> PrefillReport:
    """Prefill the tokens at the positions `chosen`, int32, sorted, all of the last `policy.window` among them.

    The context then decodes from position n, or, if the policy numbers them anew, from len(chosen): see the report's
    `position_shift`. No layer ever holds more cells than chosen ones and `headroom`. An exception of `on_progress`
    stops it, and is raised from here; the context is then empty and usable.

    Raises:
        ValueError: positions that are not in the prompt, or not sorted, or without the window.
        MemoryError, UnsupportedModelError, EngineError: see `Engine`; the context is then empty and usable.
    """
    start = time.perf_counter()
    n_layer, window = engine.info().n_layer, min(policy.window, len(tokens))
    compact = policy.positions == "compact" and len(chosen) < len(tokens)

    def progress(il_begin: int, il_end: int, done: int, n_tokens: int) -> None:
        if on_progress is not None:
            layer = il_begin + (il_end - il_begin) * done // n_tokens
            on_progress(Progress(layer, n_layer, done, n_tokens, "answering"))

    engine.progress = progress
    try:
        if compact:
            engine.begin([tokens[i] for i in chosen], window, headroom)
        else:
            engine.begin(tokens, window, headroom)
            engine.keep(chosen)
        engine.run(0, n_layer)
        engine.end()
    except BaseException:
        engine.abort()
        raise
    finally:
        engine.progress = None
    report = describe(engine, policy, len(tokens), full_cells)
    report.selected, report.run = chosen, [len(chosen)] * n_layer
    report.position_shift = len(tokens) - len(chosen) if compact else 0
    report.seconds = {"answering": time.perf_counter() - start}
    return report
