"""A document alone, without any question: carried through layers, one at a time, from the state that it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..engine.binding import Engine
from ..selection.compression import window_cells
from .document_state import StateCopier
from .known import Known
from .report import OnProgress, Progress


@dataclass(frozen=True)
class ReadAhead:
    """Runs the layers before `il_end` on a document's tokens. Whatever stops it costs the layer that is running.

    engine       of the context
    tokens       the document's, all of them
    il_end       the number of layers, or fewer
    on_progress  called before each ubatch; its exception stops the run and is raised
    """

    engine: Engine
    tokens: Sequence[int]
    il_end: int
    on_progress: OnProgress | None = None

    def in_context(self, known: Known, headroom: int, held: Callable[[], object]) -> None:
        """The engine then holds the document; `held` is called whenever it has come one layer further.

        known: what the engine holds of it; nothing: the context is emptied.
        headroom: KV cells of each layer for questions and answers.
        """
        engine, n = self.engine, len(self.tokens)
        with _Watched(self):
            if known.n == 0:
                engine.begin(self.tokens, 1, headroom)
            elif known.n == n:
                engine.deepen(headroom)
            else:  # a stopped question has cost the last ones
                engine.resume(known.n, self.tokens[known.n :], 1, headroom)
                engine.run(0, known.il)
                engine.hold(n)
                held()
            for il in range(known.il, self.il_end):
                engine.run(il, il + 1)
                engine.hold(n)
                held()
            engine.set_aside()

    def to_host(self, copier: StateCopier) -> None:
        """Add layers to the state that `copier` has, on the host; each one leaves the device when it is copied."""
        engine, state, n = self.engine, copier.state, len(self.tokens)
        with _Watched(self):
            if state.il == 0:
                engine.begin(self.tokens, 1, 0)
            else:
                engine.restore(self.tokens, state.il, state.hidden)
                engine.deepen(0)
            for il in range(state.il, self.il_end):
                engine.run(il, il + 1)
                copier.step(il + 1)
                layer = engine.layer(il)
                if not layer.is_swa and layer.n_cells > 1:
                    engine.compress(il, window_cells(layer.n_head_kv, n, 1))
            engine.abort()

    def progress(self, il_begin: int, il_run_end: int, done: int, n: int) -> None:
        if self.on_progress is not None:
            layer = il_begin + (il_run_end - il_begin) * done // n
            self.on_progress(Progress(layer, self.il_end, done, n, "document"))


class _Watched:
    """Within `with` the engine reports its progress; when that ends early, what it holds of the document stays."""

    def __init__(self, reading: ReadAhead) -> None:
        self._reading = reading

    def __enter__(self) -> None:
        self._reading.engine.progress = self._reading.progress

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        engine = self._reading.engine
        engine.progress = None
        if kind is not None and engine.info().n_tokens > 0 and not engine.set_aside():
            engine.abort()
