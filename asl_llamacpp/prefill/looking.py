"""Who looks at a layer's window scores, and what each sees: the selector, and the ranking of a document's passages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..engine.binding import Engine
from ..engine.kinds import Reduction
from ..policies import Policy
from ..selection.arrays import Floats
from ..selection.heads import has_say
from ..selection.reduced import merged, part, set_reduction
from ..selection.rule import Decision
from ..selection.scores import token_scores
from ..selection.selectors import Deciding
from .contrast import Contrasting
from .shown import Shown


class Looking:
    """The scores of one prefill.

    Args:
        engine: of the prefill.
        policy: resolved.
        selector: of the prompt.
        scored: the layers that give scores.
        window: the last tokens, which act as queries.
        shown: what a document's passages are ranked by; None: none will be shown.
        contrasting: a turn that asks nothing; None: there is none.
    """

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        selector: Deciding,
        scored: Sequence[int],
        window: int,
        shown: Shown | None,
        contrasting: Contrasting | None,
    ) -> None:
        self.engine, self.policy, self.selector, self.scored = engine, policy, selector, scored
        self.window, self.shown, self.contrasting = window, shown, contrasting
        self.n_beside = 0
        """Tokens of a turn that asks nothing that run beside the prompt."""

    def start(self, n: int) -> int:
        """How many of `n` known tokens the prompt may start from: what runs beside it begins behind them."""
        if self.contrasting is None or not self.contrasting.runs(self._neutral_wanted()):
            return n
        return min(n, self.contrasting.contrast.n_seen)

    def begin(self) -> None:
        """After `Engine.begin` or `Engine.resume`."""
        if self.contrasting is not None and self.contrasting.begin(self._neutral_wanted()):
            self.n_beside = len(self.contrasting.contrast.tokens)

    def wanted(self, il: int, shallow: bool) -> Reduction | None:
        """What of a scored layer's window scores is wanted; `shallow`: all tokens run through it."""
        wanted = [self.selector.reduction(il)] if self.selector.needs_scores(il) else []
        if shallow and self.shown is not None and il in self.shown.wanted:
            wanted.append(self.shown.wanted[il])
        return merged(wanted) if wanted else None

    def look(self, il: int, asked: Reduction | None, shallow: bool) -> Decision | None:
        """Show layer `il` of the last run, which was `asked` for its scores, to whom it concerns.

        A document's passages are ranked by what comes before the selection.
        """
        selector = self.selector
        if not selector.prunes or selector.first_scored_layer is None:
            if asked is not None and shallow:
                self._show(il, asked)
            return None
        if selector.decision is not None:
            return None
        if asked is None:
            return selector.observe(il)
        if shallow:
            self._show(il, asked)
        if not selector.needs_scores(il):
            return selector.observe(il)
        sums = part(self.engine.scores(il), asked, selector.reduction(il), self.window)
        return selector.observe(il, sums, self._neutral_of_set(il, asked))

    def _neutral_of_set(self, il: int, asked: Reduction) -> Floats | None:
        """What a turn that asks nothing looks at in layer `il`, if the set is chosen by that."""
        policy = self.policy
        if self.contrasting is None or not policy.contrast or not has_say(policy.heads, il):
            return None
        return self.contrasting.look(il, asked, set_reduction(policy.heads, policy.kernel, il))

    def _show(self, il: int, asked: Reduction) -> None:
        shown = self.shown
        if shown is None:
            return
        sums = self.engine.scores(il)
        if il in shown.wanted:
            want = shown.wanted[il]
            shown.add(il, part(sums, asked, want, self.window), self._neutral(il, asked, want))
        elif shown.falls_back_on(il) and self.selector.needs_scores(il):
            want = self.selector.reduction(il)
            scores = part(sums, asked, want, self.window)
            if scores.ndim == 2:
                scores = token_scores(scores, self.window, self.policy.kernel)
            shown.take(il, scores, self._neutral(il, asked, want))

    def _neutral(self, il: int, asked: Reduction, want: Reduction) -> Floats | None:
        return None if self.contrasting is None else self.contrasting.look(il, asked, want)

    def _neutral_wanted(self) -> Iterator[tuple[int, Reduction]]:
        """All that may be looked at of a turn that asks nothing, by layer."""
        policy, shown = self.policy, self.shown
        latest = policy.latest_layer
        for il in self.scored:
            if shown is not None and il in shown.wanted:
                yield il, shown.wanted[il]
            if not self.selector.needs_scores(il) or (latest is not None and il > latest):
                continue
            if policy.contrast and has_say(policy.heads, il):
                yield il, set_reduction(policy.heads, policy.kernel, il)
            if shown is not None and shown.falls_back_on(il):
                yield il, self.selector.reduction(il)
