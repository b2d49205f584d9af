"""One layer-wise prefill: the engine runs the layers, the policy's selector says where to prune, a report tells."""

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
from .describe import describe
from .keeping import keeping_of
from .known import KEEP_NOTHING, NOTHING_KNOWN, Keep, Known
from .looking import Looking
from .report import OnProgress, PrefillReport, Progress
from .shown import Shown


class _Prefill:
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
    state = _Prefill(*arguments, known, document, contrast, by_host, choosing)
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
