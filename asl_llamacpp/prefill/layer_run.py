"""One run through the layers of a prompt: which come next, what is done to their cells, and who goes deeper."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from ..engine.binding import MAX_SCORED, Engine
from ..engine.kinds import Reduction
from ..policies import Policy
from ..policies.answers import Prompt
from ..selection.arrays import Ints
from ..selection.compression import kept_cells, window_cells
from ..selection.rule import Decision
from ..selection.selectors import NoSelection
from .contrast import Contrast, Contrasting
from .keeping import keeping_of
from .known import Keep, Known
from .looking import Looking
from .report import OnProgress, Progress
from .shown import Shown


class LayerRun:
    """State of one run: which layer is next, what was decided, and how long each phase took."""

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        tokens: Sequence[int],
        headroom: int,
        keep: int | None,
        on_progress: OnProgress | None,
        known: Known,
        document: Keep,
        contrast: Contrast | None,
        by_host: bool,
        choosing: bool,
    ) -> None:
        self.engine, self.policy, self.tokens, self.choosing = engine, policy, tokens, choosing
        self.resolved = policy.resolve(engine.info().n_layer)
        self.headroom, self.keep, self.on_progress = headroom, keep, on_progress
        self.known, self.document = known, document
        self.layers = [engine.layer(il) for il in range(engine.info().n_layer)]
        scored = [il for il, layer in enumerate(self.layers) if layer.gives_scores]
        texts = partial(engine.vocabulary.texts, tokens)
        self.selector = policy.selector(Prompt(len(tokens), len(self.layers), scored, texts))
        if known.il == len(self.layers) and self.selector.prunes:
            self.selector = NoSelection("the document has run through all layers, so nothing is selected")
        self.window = min(policy.window, len(tokens))
        self.kernel = policy.kernel
        # the first of two passes leaves nothing behind, once it is sure that there will be a second one
        self.drops = policy.two_passes and self.selector.prunes and self.selector.surely_decides
        self.keeping = keeping_of(engine, policy, self.selector, len(tokens), document, by_host)
        self.phase = "shallow"
        self.seconds = {"shallow": 0.0, "selection": 0.0, "deep": 0.0}
        self.peak_bytes = 0
        self.full_cells = 0  # cells allocated for a layer that ran on the whole prompt
        self.il = 0
        self.n_run = len(tokens)  # tokens that the next layer runs on
        self.run_by_layer = [0] * len(self.layers)  # tokens, so far
        self.pruned_after: int | None = None
        self.positions: Ints | None = None  # those that went on, in the end
        products = self.selector.prunes and self.selector.reduction(0).products
        shown = None
        if document.watch and scored:
            shown = Shown(self.resolved, scored, document.watch, self.window, products)
        contrasting = None
        if contrast is not None and (self.selector.prunes or shown is not None):
            contrasting = Contrasting(engine, contrast, self.window, self.kernel)
        self.looking = Looking(engine, self.resolved, self.selector, scored, self.window, shown, contrasting)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start

    def progress(self, il_begin: int, il_end: int, done: int, n_tokens: int) -> None:
        if self.on_progress is not None:
            layer = il_begin + (il_end - il_begin) * done // n_tokens
            self.on_progress(Progress(layer, len(self.layers), done, n_tokens, self.phase))

    @property
    def compresses(self) -> bool:
        return self.keep is not None and self.n_run > self.keep

    @property
    def decides(self) -> bool:
        return self.selector.prunes and self.selector.decision is None and self.selector.first_scored_layer is not None

    @property
    def one_by_one(self) -> bool:
        """Whether the next layer must be run alone, for something is done to its cells then."""
        waits = self.keeping.one_by_one and self.phase == "shallow"
        return self.compresses or waits or (self.drops and self.decides)

    @property
    def known_layers(self) -> int:
        """Layers that the known tokens need not run through in this pass."""
        return self.known.il if self.phase == "shallow" else 0

    def wanted(self, il: int) -> Reduction | None:
        """What of a layer's window scores is wanted: each head's where cells are chosen by them."""
        if not self.layers[il].gives_scores:
            return None
        if self.compresses:
            return Reduction(products=self.selector.reduction(il).products)
        return self.looking.wanted(il, self.phase == "shallow")

    def next_end(self) -> int:
        """Where the next run of layers ends."""
        end = self.next_pause()
        wanted = [il for il in range(self.il, end) if self.wanted(il) is not None]
        return wanted[MAX_SCORED] if len(wanted) > MAX_SCORED else end

    def next_pause(self) -> int:
        """The end of the layers that need not be looked at one by one."""
        il, n_layer = self.il, len(self.layers)
        if il < self.known_layers:
            return self.known.il if self.known.state is None else il + 1
        if self.one_by_one:
            return il + 1
        first = self.selector.first_scored_layer
        if not self.decides or first is None:
            return n_layer
        return min(self.selector.next_decision_layer(max(il, first)) + 1, n_layer)

    def run_layers(self) -> Decision | None:
        """Run the next layers, compress what they leave, and ask the selector."""
        begin, end = self.il, self.next_end()
        wanted = {il: reduction for il in range(begin, end) if (reduction := self.wanted(il)) is not None}
        with self.timed(self.phase):
            if begin < self.known_layers and self.known.state is not None:
                self.known.state.put(self.engine, begin, self.known.n)
            self.engine.run(begin, end, wanted)
        for il in range(begin, end):
            known = self.known.n if il < self.known_layers else 0
            self.run_by_layer[il] += self.n_run - known + (self.looking.n_beside if self.phase == "shallow" else 0)
        self.il = end
        if self.phase == "shallow" and not self.layers[begin].is_swa:
            self.full_cells = max(self.full_cells, self.engine.layer(begin).n_cells_max)
        decision = None
        with self.timed("selection"):
            for il in range(begin, end):
                decision = self.looking.look(il, wanted.get(il), self.phase == "shallow") or decision
        if end == begin + 1 and not self.layers[begin].is_swa:
            self.shrink(begin)
        return decision

    def shrink(self, il: int) -> None:
        """Compress layer `il`, which has just run, to the budget; or to its window, if nothing of it will be used.

        Or move it to the host, where it waits for the selection.
        """
        n_head_kv = self.layers[il].n_head_kv
        leaves = self.compresses or self.drops or self.keeping.one_by_one
        if self.document.copier is not None and self.phase == "shallow" and leaves:
            with self.timed("copying"):
                self.document.copier.add(il + 1)
        if self.keeping.one_by_one and self.phase == "shallow":
            with self.timed("copying"):
                self.keeping.ran(il)
        if self.compresses and not self.drops:
            assert self.keep is not None
            with self.timed("compression"):
                sums = self.engine.scores(il)
                self.engine.compress(il, kept_cells(sums, n_head_kv, self.keep, self.window, self.kernel))
        elif self.drops and self.phase == "shallow":
            with self.timed("compression"):
                self.engine.compress(il, window_cells(n_head_kv, self.n_run, self.window))

    def go_on_with(self, positions: Ints) -> None:
        """Let only the selected tokens go on: into the deeper layers, or into a second pass over all of them."""
        self.keep_document()
        if self.pruned_after is None:
            self.pruned_after = self.il - 1
        self.n_run, self.positions = len(positions), positions
        self.selector.acted()
        if self.choosing:
            self.peak_bytes = self.engine.info().kv_bytes_peak
            return
        if not self.policy.two_passes:
            with self.timed("copying" if self.keeping.one_by_one else "selection"):
                self.keeping.selected(positions)
            if self.il < len(self.layers):
                with self.timed("selection"):
                    self.engine.keep(positions)
            self.phase = "deep"
        else:
            self.peak_bytes = self.engine.info().kv_bytes_peak
            self.engine.abort()
            self.engine.begin([self.tokens[i] for i in positions], self.window, self.headroom)
            self.phase, self.il, self.drops = "second", 0, False

    def keep_document(self) -> None:
        """Keep the document's state as it is now, all tokens having run through the layers so far."""
        if self.document.n == 0 or self.phase != "shallow":
            return
        if self.document.copier is not None:
            with self.timed("copying"):
                self.document.copier.finish(self.il)
        else:
            with self.timed("selection"):
                self.engine.hold(self.document.n)

    def begin(self) -> None:
        known = self.known = replace(self.known, n=self.looking.start(self.known.n))
        tokens = self.tokens
        if known.n == 0:
            self.engine.begin(tokens, self.window, self.headroom)
        else:
            if known.state is not None:
                hidden = known.state.hidden
                self.engine.restore(tokens[: known.n], known.il, None if hidden is None else hidden[: known.n])
            self.engine.resume(known.n, tokens[known.n :], self.window, self.headroom)
        self.looking.begin()

    def run(self) -> Decision | None:
        """Run all layers; the decision that was acted on, the first one if there were several.

        What a known document has run through already is not pruned: a decision waits for the end of these layers. So
        the same question has the same tokens selected, however deep the document has come meanwhile.
        """
        acted = waiting = None
        while self.il < len(self.layers):
            waiting = self.run_layers() or waiting
            # behind the last layer no token is left to drop, but cells are, and a second pass begins anew
            more = self.il < len(self.layers) or self.keeping.evicts or self.policy.two_passes
            if waiting is not None and more and self.il >= self.known_layers:
                self.go_on_with(waiting.positions)
                acted, waiting = acted or waiting, None
                if self.choosing:
                    return acted
        self.keep_document()
        return acted
