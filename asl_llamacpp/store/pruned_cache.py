"""The KV cache of one `Llama` under a policy: what a prompt needs, what it was pruned for, what may be added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..budget.kv_shape import CELLS_PAD, KVShape
from ..budget.leaving import leaves_device
from ..budget.plan import Plan, plan
from ..budget.text import Budget, BudgetError
from ..budget.worst_case import Case
from ..engine.binding import Engine, EngineError, kv_bytes, model_layers
from ..policies import Policy
from ..policies.base import Choice
from ..prefill.contrast import Contrast
from ..prefill.known import Keep, Known
from ..prefill.prefill import prefill
from ..prefill.read_ahead import ReadAhead
from ..prefill.report import OnProgress, PrefillReport
from .entry import Entry
from .neutral import contrast_behind
from .store import DocumentStore

SHOWN_AT = 0.6
"""Share of the layers after which the passages of a document are ranked: the layer that does it best lies there."""

MIN_ROWS = 8
"""Tokens that are run at least: one or two are multiplied with weights in another way than many, and round so."""

HEADROOM = 256
"""KV cells per layer reserved for the answer at least when a prefill begins; more are added while decoding."""


def shape_of(model: Any, n_ctx: int, params: Any) -> KVShape:
    """KV shape of a ctypes llama_model_p in a context of these llama_context_params."""
    return KVShape(
        layers=tuple(model_layers(model)),
        type_k=params.type_k,
        type_v=params.type_v,
        n_ctx=n_ctx,
        n_ubatch=params.n_ubatch,
        swa_full=params.swa_full,
    )


class PrunedCache:
    """Plans and runs the layer-wise prefills of one context.

    n_prompt  length of the prompt that the cache was pruned for, 0: it is not pruned
    shift     how far the cells' positions lag behind the tokens' (a second pass numbers its tokens anew)
    n_answer  longest answer that was asked for, 0: not known
    neutral   gives the tokens of a turn that asks nothing, for the contrast; None: there will be none
    beside    tells what a prompt of so many tokens takes beside K and V
    """

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        shape: KVShape,
        budget: Budget | None,
        store: DocumentStore,
        neutral: Callable[[], Sequence[int]] | None = None,
    ) -> None:
        self.engine = engine
        self.policy = policy
        policy.check_heads(shape.layers)
        self.resolved = policy.resolve(len(shape.layers))
        self.shape = shape
        self.budget = budget
        self.n_answer = 0
        self.store = store
        self.neutral = neutral
        self.beside: Callable[[int], str] | None = None
        self.forget()

    def check_store(self) -> None:
        """ValueError if documents are to stay on a device where their cells do not."""
        if self.store.place != "device":
            return
        compresses = self.budget is not None or self.policy.budget is not None or self.policy.keep == "heads"
        if compresses or self.policy.two_passes or self.shape.has_ring:
            what = f"kv_policy={str(self.policy)!r}"
            if self.budget is not None:
                what = "kv_budget"
            elif self.shape.has_ring:
                what = "swa_full=False"
            raise ValueError(
                f"document_store='device' needs all of a document's KV on the device, and {what} does not leave it "
                "there: use 'ram' or 'disk'"
            )

    def forget(self) -> None:
        """The cache holds nothing that was pruned."""
        self.n_prompt = 0
        self.shift = 0
        self._n_room = 0

    def headroom(self, n_tokens: int) -> int:
        """Cells per layer for the answer to a prompt of `n_tokens`.

        The whole answer where that is known, so that nothing is enlarged and copied on the way. At most an eighth of
        the prompt, which is what enlarging takes; and what is promised with a budget in bytes.
        """
        if self.budget is not None and self.budget.kind == "bytes":
            return HEADROOM
        return max(HEADROOM, min(self.n_answer, n_tokens // 8))

    def plan(self, n_tokens: int) -> Plan:
        """What a prompt of `n_tokens` gets; BudgetError if the budget cannot hold it."""
        try:
            return plan(self.resolved, self.shape, n_tokens, self.budget, self.headroom(n_tokens))
        except BudgetError as error:
            if error.needed is None or self.beside is None:
                raise
            told = BudgetError(f"{error}; {self.beside(n_tokens)}")
            told.needed = error.needed
            raise told from None

    def prunes(self, n_tokens: int) -> bool:
        """Whether a prompt of `n_tokens` must be prefilled layer by layer: to be pruned, or to keep to bytes."""
        if not 1 <= n_tokens <= self.shape.n_ctx:
            return False  # refused elsewhere
        planned = self.plan(n_tokens)
        kept = min(planned.policy.select_k or n_tokens, planned.keep or n_tokens)
        return n_tokens > kept or planned.limit is not None

    def serves(self, tokens: Sequence[int]) -> bool:
        """Whether a prompt begins with a known document, so that it is prefilled layer by layer in any case."""
        entry, n = self.store.find(tokens)
        return entry is not None and n < len(tokens)

    def latest_layer(self, planned: Plan, n_tokens: int) -> int | None:
        """The deepest layer that may select; the number of layers if none need; None if none will."""
        return self.case(planned.policy, n_tokens).latest_layer

    def case(self, policy: Policy, n_tokens: int) -> Case:
        """A prompt under the policy that was planned for it."""
        return Case(policy, self.shape, n_tokens, self.headroom(n_tokens), by_host=self.budget is not None)

    def holds_all(self, n_tokens: int, headroom: int) -> bool:
        """Whether the budget has room for so many tokens, and `headroom` more, in all layers."""
        if self.budget is None:
            return True
        if self.budget.kind != "bytes":
            return self.budget.tokens(n_tokens) >= n_tokens
        cells, n_layer = self.shape.cells, len(self.shape.layers)
        size = sum(self.shape.layer_bytes(il, cells(n_tokens, headroom, il)) for il in range(n_layer))
        return size <= self.budget.value

    def deepest(self, policy: Policy, n_tokens: int) -> int:
        """Layers that all tokens of a prompt may run through, under the policy that was planned for it."""
        case = self.case(policy, n_tokens)
        latest, n_layer = case.latest_layer, len(self.shape.layers)
        if latest is None or self.holds_all(n_tokens, case.headroom):
            return n_layer
        # where the last layer selects, whoever has run through it has nothing left to select from
        return n_layer if latest == n_layer else min(latest + 1, n_layer - 1)

    def leaves_device(self, planned: Plan, n_tokens: int, selects: bool = True) -> bool:
        """Whether the cells of the shallow layers do not stay as they are, so that a document's must be copied.

        selects: False: the document has run through all layers, so that nothing will be selected.
        """
        choice = Choice(planned.policy, planned.keep)
        return leaves_device(self.case(planned.policy, n_tokens), choice, self.store.place == "device", selects)

    def _document(
        self, planned: Plan, tokens: Sequence[int], evaluated: Sequence[int]
    ) -> tuple[Entry | None, Known, Keep]:
        """The document that the prompt begins with, what is known of it and behind it, and what is to be kept."""
        store, n = self.store, len(tokens)
        entry, common = store.find(tokens)
        if entry is not None:
            store.touch(entry)
        deepest, n_layer = self.deepest(planned.policy, n), len(self.shape.layers)
        leaves = self.leaves_device(planned, n, entry is None or store.layers(entry) < n_layer or deepest < n_layer)
        if leaves or store.active is not entry:
            store.put_away()
        n_free = n - max(self.policy.window, MIN_ROWS)
        known = Known()
        if entry is not None and min(common, n_free) > 0:
            n_turns = store.hold_turns(entry, tokens[:n_free], evaluated)
            known = store.known(entry, max(min(common, n_free), n_turns), deepest)
        n_kept, watch = n_free, None
        if entry is not None and entry.pinned:
            n_kept, watch = common, round(SHOWN_AT * n_layer)
        elif store.min_tokens is None or n_free < store.min_tokens:
            n_kept = 0
        elif entry is not None and common < len(entry.tokens):
            n_kept = known.n or common
        copier = None
        if leaves and n_kept > 0:
            copier = store.copier(entry, np.asarray(tokens[:n_kept], dtype=np.int32))
            n_kept = n_kept if copier is not None else 0
        return entry, known, Keep(n_kept, copier, watch)

    def _contrast(self, entry: Entry | None, n_tokens: int) -> Contrast | None:
        """What is told apart from a question: where the policy wants it, or passages of a document will be shown."""
        is_document = entry is not None and entry.pinned
        if self.neutral is None or not (is_document or self.policy.contrast):
            return None
        n_document, found = None, {}
        if entry is not None and is_document:
            n_document, found = len(entry.tokens), entry.neutral
        return contrast_behind(n_document, n_tokens, self.policy.window, self.neutral(), self.shape, found)

    def _without_copy(self, document: Keep) -> Keep:
        """For another try: what was copied in the first one may be deeper than the selection will be."""
        return replace(document, n=0, copier=None) if document.copier is not None else document

    def prefill(
        self, tokens: Sequence[int], on_progress: OnProgress | None, evaluated: Sequence[int] = ()
    ) -> PrefillReport:
        """Prefill the whole prompt; see `prefill.prefill` for the errors.

        evaluated: the tokens that the context holds, answers among them.

        Raises BudgetError before any work if the budget cannot hold it, or after it if the buffers turn out larger
        than planned: the cache is empty then.
        """
        planned = self.plan(len(tokens))
        self.forget()
        entry, known, document = self._document(planned, tokens, evaluated)
        contrast = self._contrast(entry, len(tokens))
        headroom, by_host = self.headroom(len(tokens)), self.budget is not None
        arguments = (self.engine, planned.policy, tokens, headroom, on_progress, planned.keep)
        run = partial(prefill, *arguments, contrast=contrast, by_host=by_host)
        try:
            report = run(known=known, document=document)
        except EngineError:
            if known.n == 0:
                raise  # else what was known is lost
            document = self._without_copy(document)
            report = run(document=document)
        if known.n > 0 and planned.limit is not None and report.kv_bytes > planned.limit:
            # the document's cells were allocated for a longer prompt
            document = self._without_copy(document)
            report = run(document=document)
        self.store.prefilled(entry, document, tokens)
        report.notes = self.store.take_notes()
        report.policy = str(self.policy)
        report.limit_bytes = planned.limit
        if planned.limit is not None and report.kv_bytes > planned.limit:
            self.engine.abort()
            raise BudgetError(
                f"the KV cache came to {report.kv_bytes} bytes, more than kv_budget={self.budget} allows "
                f"({planned.limit}) and than was planned ({planned.kv_bytes}); it was dropped"
            )
        if contrast is None and self.policy.contrast:
            report.reason += "; without the contrast, for which the context has no room behind the prompt"
        if self.budget is not None:
            report.reason = f"{report.reason}; {planned.reason}"
        self.n_prompt, self.shift = len(tokens), report.position_shift
        return report

    def read_ahead(self, entry: Entry, on_progress: OnProgress | None) -> None:
        """Prefill a document before any question, as deep as every question needs it at least."""
        planned = self.plan(len(entry.tokens))
        latest, n_layer = self.latest_layer(planned, len(entry.tokens)), len(self.shape.layers)
        self._deepen(entry, planned, n_layer if latest is None else min(latest + 1, n_layer), on_progress)

    def complete(self, entry: Entry, on_progress: OnProgress | None) -> None:
        """Carry a document through all layers, from the state that it has; see `Document.complete`."""
        n = len(entry.tokens)
        if not self.holds_all(n + HEADROOM, 0):
            raise BudgetError(
                f"kv_budget={self.budget} has no room for the {n} tokens of {entry.name or 'the document'} in all "
                "layers, so questions to it cannot go without a selection: raise kv_budget, or leave it out"
            )
        planned = self.plan(n)
        if self._lacks(entry, len(self.shape.layers)):
            self.store.check_deeper(entry, in_context=not self.leaves_device(planned, n))
        self._deepen(entry, planned, len(self.shape.layers), on_progress)

    def _lacks(self, entry: Entry, il_end: int) -> bool:
        return self.store.layers(entry) < il_end or not self.store.is_whole(entry)

    def _deepen(self, entry: Entry, planned: Plan, il_end: int, on_progress: OnProgress | None) -> None:
        """Run a document through the layers before `il_end` that it has not seen, where its state is."""
        if not self._lacks(entry, il_end):
            return
        store, tokens = self.store, entry.tokens.tolist()
        leaves = self.leaves_device(planned, len(tokens))
        self.forget()
        if leaves or store.active is not entry:
            store.put_away()
        known = store.known(entry, len(tokens), len(self.shape.layers))
        reading = ReadAhead(self.engine, tokens, il_end, on_progress)
        if known.state is None and not leaves:
            reading.in_context(
                known, self.headroom(len(tokens)), lambda: store.prefilled(entry, Keep(len(tokens)), tokens)
            )
            return
        copier = store.copier(entry, entry.tokens)
        if copier is None:
            return  # it is larger than document_limit, and a warning has said so
        try:
            reading.to_host(copier)
        finally:
            if copier.state.il > 0:
                copier.settle_hidden()
                store.prefilled(entry, Keep(len(tokens), copier), tokens)

    def holds(self, n_tokens: int) -> bool:
        """Whether an answer has left all cells of the last prompt's `n_tokens`: rings of cells forget."""
        n = n_tokens - self.shift
        layers = self.shape.layers
        rings = {layer.n_swa: il for il, layer in enumerate(layers) if layer.n_swa > 0 and self.shape.has_ring}
        for n_swa, il in rings.items():
            if not np.isin(np.arange(max(0, n - n_swa), n), self.engine.positions(il)).all():
                return False
        return True

    def lacks_room(self, n_past: int, n_tokens: int) -> bool:
        """Whether `make_room` has something to do for `n_tokens` after `n_past`. Asked for every token of an answer."""
        if self.budget is not None and self.budget.kind == "bytes":
            return n_past + n_tokens > self._n_room
        return n_tokens > self.shape.n_ubatch  # of fewer the engine sees all at once

    def _n_free(self) -> int:
        """Tokens that every layer has cells for."""
        layers = [self.engine.layer(il) for il in range(len(self.shape.layers))]
        free = (layer.n_cells_max - layer.n_cells for layer in layers if not layer.is_swa)
        return min(free, default=self.shape.n_ctx)

    def make_room(self, n_past: int, n_tokens: int) -> None:
        """Room for `n_tokens` more than the `n_past` that are there, and for the answer if there is memory for it.

        Raises:
            BudgetError: they would make the buffers grow beyond a budget in bytes; nothing is lost.
            MemoryError: the same of the device.
        """
        if self.budget is None or self.budget.kind != "bytes":
            if self.lacks_room(n_past, n_tokens):
                self.engine.make_room(n_tokens, self.headroom(n_tokens))
            return
        self._n_room = n_past + self._n_free()
        if n_past + n_tokens <= self._n_room:
            return
        layers = [self.engine.layer(il) for il in range(len(self.shape.layers))]
        limit, cells = int(self.budget.value), self.shape.cells
        needed = [cells(layer.n_cells + n_tokens, CELLS_PAD, il) for il, layer in enumerate(layers)]
        grown = sum(self.shape.layer_bytes(il, max(needed[il], layer.n_cells_max)) for il, layer in enumerate(layers))
        if grown <= limit:
            self.engine.make_room(n_tokens, CELLS_PAD)
            self._n_room = n_past + self._n_free()
        else:
            raise BudgetError(
                f"the answer needs more KV than kv_budget={self.budget} allows: {grown} bytes for the next token, the "
                f"limit is {limit}; raise kv_budget, or ask for a shorter answer with max_tokens"
            )


def check_context(ctx: Any, budget: Budget | None) -> None:
    """BudgetError if the KV cache of a context under kv_policy="full" exceeds a budget in bytes."""
    if budget is not None and budget.kind == "bytes" and kv_bytes(ctx) > budget.value:
        raise BudgetError(
            f"kv_policy='full' holds n_ctx cells in every layer, {kv_bytes(ctx)} bytes, and kv_budget={budget} allows "
            f"{int(budget.value)}: lower n_ctx, or use a policy that prunes"
        )


def check_prompt(n_tokens: int, budget: Budget | None) -> None:
    """BudgetError if a prompt under kv_policy="full" has more tokens than the budget."""
    if budget is not None and budget.kind != "bytes" and n_tokens > budget.tokens(n_tokens):
        raise BudgetError(
            f"kv_policy='full' keeps all {n_tokens} tokens of the prompt, kv_budget={budget} allows "
            f"{budget.tokens(n_tokens)}: use a policy that prunes, such as kv_policy='asl' or 'snapkv'"
        )
