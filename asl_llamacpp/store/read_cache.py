"""The KV cache of a model that is given its tokens by another one, which has read the prompt."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..policies.read_by import ReadBy
from ..prefill.answering import answering
from ..prefill.report import OnProgress, PrefillReport
from ..selection.arrays import Floats, Ints
from .pruned_cache import PrunedCache


@dataclass(frozen=True)
class Chosen:
    """What the reader made of a prompt of n tokens.

    positions  int32, sorted: of the tokens that the model which answers is prefilled with
    scores     float32 [n - window], what they were chosen by; 0 for what is always kept
    shown      the same, by what a document's passages are ranked; None: not a document
    report     of the reader's own prefill
    """

    positions: Ints
    scores: Floats
    shown: Floats | None
    report: PrefillReport


Choosing = Callable[[Sequence[int], ReadBy, OnProgress | None], Chosen]


class ReadCache(PrunedCache):
    """As `PrunedCache`, but no token is run in vain: what is not chosen never enters the context.

    choose  reads a prompt; set by the `Llama` that it belongs to
    """

    choose: Choosing

    def __init__(self, *args: Any, choose: Choosing) -> None:
        super().__init__(*args)
        self.choose = choose

    def serves(self, tokens: Sequence[int]) -> bool:
        """What is known of a document, the reader knows."""
        return False

    def prefill(
        self,
        tokens: Sequence[int],
        on_progress: OnProgress | None,
        evaluated: Sequence[int] = (),
        choosing: int | None = None,
    ) -> PrefillReport:
        """Let the reader choose, and prefill what it chose; see the reader and `prefill.answering` for the errors."""
        start = time.perf_counter()
        planned = self.plan(len(tokens))
        policy = planned.policy
        assert isinstance(policy, ReadBy)
        self.forget()
        chosen = self.choose(tokens, policy, on_progress)
        headroom = self.headroom(len(tokens))
        full_cells = max(self.shape.cells(len(tokens), headroom, il) for il in self.shape.scored_layers or [0])
        report = answering(self.engine, policy, tokens, chosen.positions, headroom, full_cells, on_progress)
        read = report.read = chosen.report
        report.selection_layer, report.reason, report.forced = -1, read.reason, read.forced
        report.scores, report.scores_layer = chosen.scores, read.scores_layer
        report.shown, report.shown_layer, report.contrasted = chosen.shown, read.shown_layer, read.contrasted
        report.relative_variance, report.tau = read.relative_variance, read.tau
        report.reused, report.reused_layers = read.reused, read.reused_layers
        report.notes = [*read.notes, *self.store.take_notes()]
        report.limit_bytes = planned.limit
        if planned.reason:
            report.reason = f"{report.reason}; {planned.reason}"
        seconds = time.perf_counter() - start
        report.seconds = {"reading": read.seconds["total"], **report.seconds, "total": seconds}
        self.n_prompt, self.shift = len(tokens), report.position_shift
        return report
