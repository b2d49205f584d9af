"""The KV cache of one `Llama` under a policy: what a prompt needs, what it was pruned for, what may be added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ..budget.plan import Plan
from ..budget.text import BudgetError
from ..engine.binding import EngineError
from ..prefill.contrast import Contrast
from ..prefill.known import Keep, Known
from ..prefill.prefill import prefill
from ..prefill.read_ahead import ReadAhead
from ..prefill.report import OnProgress, PrefillReport
from ..prefill.shown import shown_layers
from .answer_room import AnswerRoom
from .entry import Entry
from .neutral import contrast_behind
from .planned_cache import HEADROOM

MIN_ROWS = 8
"""Tokens that are run at least: one or two are multiplied with weights in another way than many, and round so."""


class PrunedCache(AnswerRoom):
    """Plans and runs the layer-wise prefills of one context.

    n_prompt  length of the prompt that the cache was pruned for, 0: it is not pruned
    shift     how far the cells' positions lag behind the tokens' (a second pass numbers its tokens anew)
    n_answer  longest answer that was asked for, 0: not known
    neutral   gives the tokens of a turn that asks nothing, for the contrast; None: there will be none
    beside    tells what a prompt of so many tokens takes beside K and V
    """

    def _document(
        self, planned: Plan, entry: Entry | None, common: int, tokens: Sequence[int], evaluated: Sequence[int]
    ) -> tuple[Known, Keep]:
        """Of a prompt whose first `common` tokens are those of `entry`: what is known of it, and what is to be kept."""
        store, n = self.store, len(tokens)
        if entry is not None:
            store.touch(entry)
        deepest, n_layer = self.deepest(planned.policy, n), len(self.shape.layers)
        leaves = self.leaves_device(planned, n, entry is None or store.layers(entry) < n_layer or deepest < n_layer)
        if leaves or store.active is not entry:
            store.put_away()
        n_free = n - max(planned.policy.window, MIN_ROWS)
        known = Known()
        if entry is not None and min(common, n_free) > 0:
            n_turns = store.hold_turns(entry, tokens[:n_free], evaluated)
            known = store.known(entry, max(min(common, n_free), n_turns), deepest)
        n_kept: int = n_free
        watch: tuple[int, ...] = ()
        if entry is not None and entry.pinned:
            n_kept, watch = common, shown_layers(n_layer)
        elif store.min_tokens is None or n_free < store.min_tokens:
            n_kept = 0
        elif entry is not None and common < len(entry.tokens):
            n_kept = known.n or common
        copier = None
        if leaves and n_kept > 0:
            copier = store.copier(entry, np.asarray(tokens[:n_kept], dtype=np.int32))
            n_kept = n_kept if copier is not None else 0
        return known, Keep(n_kept, copier, watch)

    def _contrast(self, entry: Entry | None, n_tokens: int, window: int) -> Contrast | None:
        """What is told apart from a question: where the policy wants it, or passages of a document will be shown."""
        is_document = entry is not None and entry.pinned
        if self.neutral is None or not (is_document or self.policy.contrast):
            return None
        n_document, found = None, {}
        if entry is not None and is_document:
            n_document, found = len(entry.tokens), entry.neutral
        return contrast_behind(n_document, n_tokens, window, self.neutral(), self.shape, found)

    def _without_copy(self, document: Keep) -> Keep:
        """For another try: what was copied in the first one may be deeper than the selection will be."""
        return replace(document, n=0, copier=None) if document.copier is not None else document

    def prefill(
        self,
        tokens: Sequence[int],
        on_progress: OnProgress | None,
        evaluated: Sequence[int] = (),
        choosing: int | None = None,
    ) -> PrefillReport:
        """Prefill the whole prompt; see `prefill.prefill` for the errors.

        evaluated: the tokens that the context holds, answers among them.
        choosing: how many tokens to select; nothing is run behind the selection then, and the cache is empty.

        Raises BudgetError before any work if the budget cannot hold it, or after it if the buffers turn out larger
        than planned: the cache is empty then.
        """
        planned = self.plan(len(tokens))
        if choosing is not None:
            planned = replace(planned, policy=planned.policy.keeping(choosing))
        self.forget()
        entry, common = self.store.find(tokens)
        if entry is not None and entry.pinned and common < len(tokens):
            planned = replace(planned, policy=planned.policy.asked_in(len(tokens) - common))
        known, document = self._document(planned, entry, common, tokens, evaluated)
        contrast = self._contrast(entry, len(tokens), planned.policy.window)
        headroom = self.headroom(len(tokens)) if choosing is None else 0  # nothing is decoded then
        by_host = self.budget is not None
        arguments = (self.engine, planned.policy, tokens, headroom, on_progress, planned.keep)
        run = partial(prefill, *arguments, contrast=contrast, by_host=by_host, choosing=choosing is not None)
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
        if choosing is None:
            self.n_prompt, self.shift = len(tokens), report.position_shift
        return report

    def read_ahead(self, entry: Entry, on_progress: OnProgress | None) -> None:
        """Prefill a document before any question, as deep as every question needs it at least."""
        planned = self.plan(len(entry.tokens))
        self._deepen(entry, planned, self._read_depth(entry, planned), on_progress)

    def lacks_reading(self, entry: Entry) -> bool:
        """Whether `read_ahead` has something to do."""
        return self._lacks(entry, self._read_depth(entry, self.plan(len(entry.tokens))))

    def _read_depth(self, entry: Entry, planned: Plan) -> int:
        latest, n_layer = self.latest_layer(planned, len(entry.tokens)), len(self.shape.layers)
        return n_layer if latest is None else min(latest + 1, n_layer)

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
