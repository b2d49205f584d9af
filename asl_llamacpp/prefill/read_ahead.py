"""Reading a document before any question: its first layers alone."""

from __future__ import annotations

from collections.abc import Sequence

from ..engine.binding import Engine
from ..selection.compression import window_cells
from .document_state import StateCopier
from .report import OnProgress, Progress


def read_ahead(
    engine: Engine,
    tokens: Sequence[int],
    il_end: int,
    on_progress: OnProgress | None = None,
    copier: StateCopier | None = None,
) -> None:
    """Run the layers before `il_end` on a document alone; the engine then holds it, or `copier` has its state.

    With a copier each layer leaves the device when it is copied. Raises as `prefill`.
    """

    def progress(il_begin: int, il_run_end: int, done: int, n: int) -> None:
        if on_progress is not None:
            layer = il_begin + (il_run_end - il_begin) * done // n
            on_progress(Progress(layer, il_end, done, n, "document"))

    layers = [engine.layer(il) for il in range(il_end)]
    engine.progress = progress
    try:
        engine.begin(tokens, 1, 0)
        for il in range(il_end) if copier else (il_end - 1,):
            engine.run(il if copier else 0, il + 1)
            if copier is not None:
                copier.finish(il + 1) if il + 1 == il_end else copier.add(il + 1)
                if not layers[il].is_swa:
                    engine.compress(il, window_cells(layers[il].n_head_kv, len(tokens), 1))
        if copier is None:
            engine.hold(len(tokens))
            engine.set_aside()
        else:
            engine.abort()
    except BaseException:
        engine.abort()
        raise
    finally:
        engine.progress = None
