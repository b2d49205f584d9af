"""What the policies share that run the model again, on the selected tokens alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from .answers import Fewer, Pass, Prompt, WorstCase
from .base import Choice, Policy


class TwoPasses(Policy):
    """The first pass only chooses `select_k` tokens; a second one runs on these, at positions 0..select_k-1.

    A budget lowers `select_k`, instead of compressing layers. Comes first among the base classes.
    """

    select_k: int
    two_passes: ClassVar[bool] = True

    def worst_case(self, prompt: Prompt, keep: int | None = None) -> WorstCase:
        one = super().worst_case(prompt, keep)
        if one.latest is None or one.latest == prompt.n_layer:
            return one
        # the first pass leaves its window alone, and nothing once the second begins
        first = Pass((prompt.n_tokens,) * (one.latest + 1), self.window)
        return WorstCase(one.latest, (first, Pass((self.select_k,) * prompt.n_layer, keep)))

    def within_tokens(self, prompt: Prompt, cells: int) -> Choice | None:
        select_k = min(cells, self.select_k)
        if prompt.n_tokens <= select_k:
            return Choice(self, None)
        return self._second_pass(prompt, select_k, forced=prompt.n_tokens > cells)

    def within_bytes(self, prompt: Prompt, fewer: Fewer) -> Iterator[Choice]:
        yield Choice(self, None)
        for select_k in (self.select_k, *fewer(self.select_k)):
            yield self._second_pass(prompt, select_k, forced=True)

    def _second_pass(self, prompt: Prompt, select_k: int, forced: bool) -> Choice:
        """A second pass on `select_k` tokens; `forced`: it comes in any case, if only after the last layer."""
        policy: TwoPasses = self
        reasons: list[str] = []
        layer: int | None = None
        if select_k != policy.select_k:
            reasons.append(f"select_k lowered from {policy.select_k} to {select_k}, to fit the budget")
            policy = policy.keeping(select_k)
        if forced and policy.latest_layer is None:
            layer = prompt.n_layer - 1
            reasons.append(f"tokens are selected after layer {layer} at the latest, to fit the budget")
            policy = policy.selecting_by(layer)
        return Choice(policy, None, "; ".join(reasons), layer)
