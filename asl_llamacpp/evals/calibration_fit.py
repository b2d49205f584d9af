"""Of many rules, the one that serves a model best by what was measured on its prompts.

What a rule loses on a prompt: how probable a token of the right answer is without pruning (geometric mean over the
answer), minus the same with what the rule selects. What it costs: tokens times layers of the prefill, against those of
an unpruned one. Of the rules that lose no more than the best one, give or take half a standard error, the cheapest is
taken: among thousands of rules the best on a few prompts owes much to luck. A whole one would let a rule pass that
loses a single answer, whatever the number of prompts. `NOTHING` is always tolerated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ..policies import ASL, Reference
from .ablation_rules import L_OBS, Tried
from .signals import relative_to_first, relative_to_peak
from .ways import PAPERS, Way, name_of, way_named

Floats = NDArray[np.float64]
TAUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FIRST, LAST = (0.3, 0.6), (0.5, 0.9)
"""Where l_min and l_max are looked for, as shares of the layers."""

NOTHING = 0.002
"""A loss that nobody notices: not worth more work, however sure it is."""

_RELATIVE = {"first": relative_to_first, "peak": relative_to_peak}


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What a rule did: `loss` and `work` by prompt, means over its budgets; `layer` and `fired` by both."""

    policy: ASL
    loss: Floats
    work: Floats
    layer: NDArray[np.int64]
    fired: NDArray[np.bool_]


class Trials:
    """The prompts of one model, each at the same budgets, as arrays: [prompts and budgets, layers]."""

    def __init__(self, prompts: Sequence[Tried]) -> None:
        if not prompts or len({p.n_layer for p in prompts}) != 1:
            raise ValueError("prompts of one model are needed")
        self.prompts = list(prompts)
        self.n_layer, self.l_min = prompts[0].n_layer, prompts[0].l_min
        names = [(p.task, p.seed, p.sample) for p in prompts]
        self.names = list(dict.fromkeys(names))
        self._group = np.array([self.names.index(name) for name in names])
        self._work = np.array([[p.work(il) for il in range(self.n_layer)] for p in prompts])
        self._relative: dict[tuple[str, int, str, int], Floats] = {}

    @cached_property
    def losses(self) -> dict[str, Floats]:
        """By way of choosing, those that were tried on all prompts; nan where a layer was not."""
        ways = [how for how in self.prompts[0].logprob if all(how in p.logprob for p in self.prompts)]
        return {how: np.array([self._loss(p, how) for p in self.prompts]) for how in ways}

    @cached_property
    def tried(self) -> dict[str, list[int]]:
        """By way of combining scores, the layers that were tried on all prompts."""
        return {how: np.flatnonzero(~np.isnan(loss).any(axis=0)).tolist() for how, loss in self.losses.items()}

    def _loss(self, prompt: Tried, how: str) -> list[float]:
        found = [np.nan] * self.n_layer
        for il, logprob in prompt.logprob[how].items():
            found[il] = float(np.exp(prompt.full) - np.exp(logprob))
        return found

    def outcomes(self, policy: ASL) -> Outcomes:
        """What `policy`, its layers resolved or its one layer given, does on each prompt."""
        rows = np.arange(len(self.prompts))
        layer, fired = self._chosen(policy)
        loss = self.losses[name_of(policy, list(self.losses))][rows, layer]
        return Outcomes(policy, self._by_prompt(loss), self._by_prompt(self._work[rows, layer]), layer, fired)

    def _chosen(self, policy: ASL) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        n = len(self.prompts)
        if policy.layer is not None:
            return np.full(n, policy.layer, dtype=np.int64), np.zeros(n, dtype=np.bool_)
        assert isinstance(policy.l_min, int) and isinstance(policy.l_max, int)
        ranked = policy.heads if isinstance(policy.heads, str) else "sum"
        key = ranked, policy.l_obs, policy.reference, policy.l_min
        if key not in self._relative:
            series = [p.variance[ranked][policy.l_obs] for p in self.prompts]
            relative = [_RELATIVE[policy.reference](values, policy.l_min) for values in series]
            self._relative[key] = np.array(relative, dtype=np.float64)  # nan where there is none
        below = self._relative[key][:, : policy.l_max + 1] < policy.tau
        fired: NDArray[np.bool_] = np.any(below, axis=1)
        layer: NDArray[np.int64] = np.where(fired, below.argmax(axis=1), policy.l_max).astype(np.int64)
        if policy.chosen:  # which it waits for
            layer = np.maximum(layer, policy.chosen[0][0])
        return layer, fired

    def _by_prompt(self, values: Floats) -> Floats:
        counts = np.bincount(self._group)
        found: Floats = np.bincount(self._group, weights=values) / counts
        return found

    def candidates(self) -> Iterator[ASL]:
        """The paper's first; then every fixed layer and every rule, for each way that was tried."""
        ways = list(self.losses)
        yield paper(self.n_layer)
        for how in ways:
            yield from (fixed(layer, way_named(how)) for layer in self.tried[how] if layer >= L_OBS - 1)
        first = _layers(self.n_layer, FIRST, self.l_min)
        for how in ways:
            chosen_by = way_named(how)
            last = [il for il in _layers(self.n_layer, LAST, self.l_min) if il in self.tried[how]]
            for lo, hi, reference, tau in product(first, last, get_args(Reference), TAUS):
                if hi > lo:
                    rule = ASL(tau=tau, l_min=lo, l_max=hi, reference=reference)
                    yield replace(rule, **chosen_by._asdict())


def _layers(n_layer: int, shares: tuple[float, float], least: int) -> list[int]:
    """Every other layer from one share of the layers to another."""
    start, end = (round(share * n_layer) for share in shares)
    return list(range(max(start, least), min(end, n_layer - 2) + 1, 2))


def paper(n_layer: int) -> ASL:
    """The paper's constants, with l_max: what "asl" is without a calibration."""
    return ASL().resolve(n_layer)


def fixed(layer: int, chosen_by: Way = PAPERS) -> ASL:
    """A rule that begins and ends at one layer: unlike with `layer`, a memory limit may force an earlier one."""
    return ASL(l_min=layer, l_max=layer, **chosen_by._asdict())


def choose(found: Sequence[Outcomes]) -> Outcomes:
    """The cheapest of those that lose no more than the best one and half the standard error, or `NOTHING`."""
    found = [one for one in found if np.isfinite(one.loss).all()]  # not of a layer that was not tried
    best = min(found, key=lambda one: float(one.loss.mean()))
    n = len(best.loss)
    good = []
    for one in found:
        worse = one.loss - best.loss
        error = worse.std(ddof=1) / np.sqrt(n) if n > 1 else 0.0
        if worse.mean() <= max(error / 2, NOTHING):
            good.append(one)
    return min(good, key=lambda one: (round(float(one.work.mean()), 2), float(one.loss.mean())))


def fit(trials: Trials) -> Outcomes:
    """The rule that is chosen, on the prompts it was chosen by."""
    return choose([trials.outcomes(policy) for policy in trials.candidates()])


def fit_layer(trials: Trials) -> Outcomes:
    """The same among fixed layers, with the paper's scores."""
    layers = [fixed(layer) for layer in trials.tried["sum"] if layer >= L_OBS - 1]
    return choose([trials.outcomes(policy) for policy in layers])
