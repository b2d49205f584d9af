"""ASL's selection rule (arXiv 2601.07667): after which layer to select, and which tokens. Pure numpy, no I/O.

The past is the prompt without its last `window` tokens: these act as queries, and are always kept.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..engine.kinds import EACH_HEAD, Reduction
from .arrays import Floats, Ints
from .contrast import less
from .heads import by_layer, has_say, set_scores
from .parameters import RuleParameters
from .ranks import Choose, rank, rank_variance, selected_positions
from .scores import token_scores


@dataclass(frozen=True, eq=False)
class Decision:
    """Select after `layer`. `forced`: by `layer` or `l_max`, not by the rule. `positions`: int32, sorted.

    `scores`: those of the past tokens that the positions were chosen by, float32 [n - window].
    """

    layer: int
    positions: Ints
    reason: str
    forced: bool
    scores: Floats


class Selector:
    """The rule over one prefill: shown each layer in turn, it says after which one to select, and what.

    `policy` must be resolved; `n_tokens` is the prompt's length. `scored_layers` names the layers that give
    scores, None meaning all of them; sliding-window layers give none, and are left out of the variance. `choose`
    makes the set of the scores once the layer is known; the ranks, and so the rule, are always those of tokens.
    Where heads are chosen the set is that of each token's maximum over those seen so far, and is not chosen before
    the first of them; the ranks are then those of all heads' sum. ValueError if one's layer gives no scores.
    `n_layer`, the model's layers, lets a rule that has fired be acted on after the last one, if it was not before.

    After each `observe`, by layer: `variance` (V_l), `union_size`, and `relative_variance` (V_l / V_ref),
    whose first entry is 1.0. V_ref is the first V, or with `reference="peak"` the largest so far. If V_ref is 0
    the ranks have converged: the next scored layer gets 0.0, and selection follows it.
    """

    def __init__(
        self,
        policy: RuleParameters,
        n_tokens: int,
        scored_layers: Iterable[int] | None = None,
        choose: Choose = selected_positions,
        n_layer: int | None = None,
    ) -> None:
        if isinstance(policy.l_min, str) or isinstance(policy.l_max, str):
            raise ValueError("the policy still says 'auto': pass policy.resolve(n_layer)")
        self.policy = policy
        self.n_tokens = n_tokens
        self.choose = choose
        self.prunes = n_tokens > policy.select_k
        self.decision: Decision | None = None
        self.variance: dict[int, float] = {}
        self.union_size: dict[int, int] = {}
        self.relative_variance: dict[int, float] = {}
        self._scored = None if scored_layers is None else sorted(set(scored_layers))
        self._start: int = policy.l_min if policy.layer is None else policy.layer
        self._limit: int | None = policy.l_max if policy.layer is None else policy.layer
        self._top = policy.select_k - policy.window
        self._rows: deque[Ints] = deque(maxlen=policy.l_obs)
        self._chosen = None if isinstance(policy.heads, str) else by_layer(policy.heads)
        without = [il for il in self._chosen or () if self._scored is not None and il not in self._scored]
        if without and self.prunes:
            raise ValueError(
                f"heads: layer {without[0]} gives no scores, it has a sliding window or no attention; "
                "choose heads of other layers"
            )
        self._scores: deque[Floats] = deque(maxlen=policy.score_layers if self._chosen is None else len(self._chosen))
        self._row_layer = self._layer = -1
        self._fired: str | None = None
        self._fired_layer = -1
        self._last = None if n_layer is None else n_layer - 1

    @property
    def first_scored_layer(self) -> int | None:
        """The first layer whose scores matter; None if no layer gives any.

        Without sliding-window layers l_min - l_obs + 1, or the fixed layer. With them, the rule looks as many
        scored layers back, and a fixed layer without scores uses those of the nearest scored layer before it.
        """
        rule = self.policy.layer is None
        first = self._first_of_rule(rule)
        if self._chosen is None or first is None:
            return first
        return min(first, *self._chosen) if rule else min(self._chosen)

    def _first_of_rule(self, rule: bool) -> int | None:
        back = max(self.policy.l_obs if rule else 1, self.policy.score_layers) - 1
        if self._scored is None:
            return max(self._start - back, 0)
        if not self._scored:
            return None
        at = bisect_left(self._scored, self._start) if rule else bisect_right(self._scored, self._start) - 1
        return self._scored[max(at - back, 0)]

    def next_decision_layer(self, layer: int) -> int:
        """The first layer from `layer` on after which a decision may come: those up to it need no pause between them.

        The first one at which the rule is asked, or the fixed one, and from there on each `decide_every`-th, the one at
        which selection is forced, and the last.
        """
        every = self.policy.decide_every
        groups = -(-max(layer - self._start, 0) // every)
        ends = (self._start + groups * every, self._limit, self._last)
        return max(layer, min(end for end in ends if end is not None))

    @property
    def surely_decides(self) -> bool:
        """Whether a layer is sure to be selected, whatever the ranks say."""
        some = self._scored is None or bool(self._scored)
        return self.prunes and some and self._limit is not None

    def needs_scores(self, layer: int) -> bool:
        """Whether `observe` must be given this layer's scores."""
        first = self.first_scored_layer
        if not self.prunes or self.decision or first is None or layer < first:
            return False
        if self._scored is not None and layer not in self._scored:
            return False
        return self._chosen is None or layer in self._chosen or self._ranks(layer)

    def _ranks(self, layer: int) -> bool:
        """Whether the ranks of `layer` are part of the rule."""
        first = self._first_of_rule(rule=True) if self.policy.layer is None else None
        return first is not None and layer >= first

    def reduction(self, layer: int) -> Reduction:
        """What the device may make of the scores of `layer`: each head's where the rule and chosen heads look at it."""
        if self._chosen is not None and layer in self._chosen:
            heads = self._chosen[layer]
            return EACH_HEAD if self._ranks(layer) else Reduction("max", self.policy.kernel, heads)
        return Reduction("max", self.policy.kernel) if self.policy.heads == "max" else Reduction("sum")

    def observe(self, layer: int, window_sums: Floats | None = None, neutral: Floats | None = None) -> Decision | None:
        """The decision to select after `layer`, or None to go on. Call it for each layer from first to last.

        `window_sums`, float32 [n_head, n_tokens] as `token_scores` takes it, or what `reduction` makes of that, is
        required where `needs_scores` says so, and may be None elsewhere; layers before `first_scored_layer` may be
        left out. If selection is forced at a layer without scores, the set is that of the latest scored layer; before
        any, it waits for the first. `neutral`, float32 [n_seen], are those of a turn that asks nothing, see
        `neutral_scores`: under `contrast` the set is chosen by what exceeds them; the ranks are not. Raises ValueError
        for layers out of order and missing, misshapen or infinite scores.
        """
        if layer <= self._layer:
            raise ValueError(f"layer {layer} after layer {self._layer}: observe layers in increasing order")
        last_given = layer if window_sums is None else layer - 1
        for missed in range(self._layer + 1, last_given + 1):
            if self.needs_scores(missed):
                raise ValueError(f"the scores of layer {missed} are needed: see needs_scores")
        self._layer = layer
        if not self.prunes or self.decision:
            return None
        if window_sums is not None:
            self._add_row(layer, window_sums, neutral if self.policy.contrast else None)
            if self._fired is None:
                self._fired, self._fired_layer = self._evaluate(layer), layer
        if layer != self.next_decision_layer(layer):
            return None
        if self._fired and self._scores:
            earlier = "" if layer == self._fired_layer else f" at layer {self._fired_layer}"
            return self._select(layer, self._fired + earlier, forced=False)
        if self._limit is not None and layer >= self._limit and self._scores:
            return self._select(layer, self._why_forced(layer), forced=True)
        return None

    def acted(self) -> None:
        """It decides once."""

    @property
    def reason(self) -> str:
        """Why selection happened where it did, or, so far, why it did not."""
        if self.decision:
            return self.decision.reason
        if not self.prunes:
            return f"the prompt's {self.n_tokens} tokens fit select_k={self.policy.select_k}"
        if self.policy.layer is not None:
            return f"no scores at layer={self.policy.layer} or after it"
        if not self.relative_variance:
            return f"fewer than two layers with scores by l_min={self.policy.l_min} or after it"
        lowest = min(self.relative_variance, key=self.relative_variance.__getitem__)
        least = self.relative_variance[lowest]
        return f"relative variance never below tau={self.policy.tau:g} (lowest {least:.3g}, layer {lowest})"

    def _add_row(self, layer: int, window_sums: Floats, neutral: Floats | None) -> None:
        policy, shape = self.policy, window_sums.shape
        combined = self.reduction(layer).combining == "max" and shape == (self.n_tokens - policy.window,)
        if not combined and (len(shape) != 2 or shape[1] != self.n_tokens):
            raise ValueError(f"window_sums must be [n_head, {self.n_tokens}], not {list(shape)}")
        scores = None
        if has_say(policy.heads, layer):
            scores = set_scores(window_sums, policy.window, policy.kernel, policy.heads, layer)
            self._check_finite(layer, scores)
            self._scores.append(scores if neutral is None else less(scores, neutral))
            self._row_layer = layer
        if self._ranks(layer):
            if scores is None or self._chosen is not None:
                scores = token_scores(window_sums, policy.window, policy.kernel)
                self._check_finite(layer, scores)
            self._rows.append(rank(scores))

    def _check_finite(self, layer: int, scores: Floats) -> None:
        if not np.isfinite(scores).all():
            raise ValueError(f"the scores of layer {layer} are not finite: its attention overflowed")

    def _evaluate(self, layer: int) -> str | None:
        """Steps 6 to 9 of the rule: record the variance, and say why it fires, or None."""
        if self.policy.layer is not None or layer < self._start or len(self._rows) < 2:
            return None
        variance, self.union_size[layer] = rank_variance(self._rows, self._top)
        self.variance[layer] = variance
        reference_layer = next(iter(self.variance))
        if self.policy.reference == "peak":
            reference_layer = max(self.variance, key=self.variance.__getitem__)
        reference, is_reference = self.variance[reference_layer], len(self.variance) == 1
        if reference == 0:
            self.relative_variance[layer] = 1.0 if is_reference else 0.0
            return None if is_reference else f"all ranks already agreed at layer {reference_layer}"
        relative = self.relative_variance[layer] = variance / reference
        tau = self.policy.tau
        return f"relative variance {relative:.3g} < tau {tau:g}" if relative < tau else None

    def _why_forced(self, layer: int) -> str:
        there = self._row_layer == layer or self._chosen is not None
        source = "" if there else f", by the scores of layer {self._row_layer}"
        late = "" if layer == self._limit else ", at the first layer with scores"
        if self.policy.layer is not None:
            return f"fixed by layer={self._limit}{source}{late}"
        return f"forced by l_max={self._limit}{source}{late}: {self.reason}"

    def _select(self, layer: int, reason: str, forced: bool) -> Decision:
        scores = self._scores[-1] if len(self._scores) == 1 else np.max(list(self._scores), axis=0)
        positions = self.choose(scores, self._top, self.policy.window)
        self.decision = Decision(layer, positions, reason, forced, scores)
        return self.decision
