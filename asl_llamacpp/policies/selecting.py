"""What the policies share that select tokens: what stays of the layers before the selection, and within a budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from .answers import Fewer, Prompt, WorstCase
from .base import Choice, Policy

Kept = Literal["all", "selected", "heads"]


class Selecting(Policy):
    """Chooses `select_k` tokens, which alone go deeper. `keep` says which cells the layers before that keep.

    all       of all tokens; with a kv_budget as "selected"
    selected  of the selected tokens, once they are known: every layer then holds the same `select_k` tokens
    heads     of its own choice for each KV head, as soon as the layer has run (SnapKV, arXiv 2404.14469): `select_k`,
              or what a kv_budget allows

    With "selected" a budget lowers `select_k`.
    """

    select_k: int

    @property
    def keeps_selected(self) -> bool:
        """Every layer ends up with the cells of the selected tokens, and no others."""
        return self.keep == "selected"

    def worst_case(self, prompt: Prompt, keep: int | None = None) -> WorstCase:
        one = super().worst_case(prompt, keep)
        if self.keep != "selected" or one.latest is None or not prompt.scored:
            return one
        selected = tuple(replace(each, left=self.select_k) for each in one.passes)
        # where perhaps none is dropped, most is left then, but a selection after the last layer gathers what is there
        return replace(one, passes=selected + one.passes if one.latest == prompt.n_layer else selected)

    def without_budget(self, prompt: Prompt) -> Choice:
        return Choice(self, self.select_k if self.keep == "heads" else None)

    def within_tokens(self, prompt: Prompt, cells: int) -> Choice | None:
        policy = self._evicting
        if not policy.keeps_selected:
            return super().within_tokens(prompt, cells)
        select_k = min(cells, policy.select_k)
        if prompt.n_tokens <= select_k:
            return Choice(policy, None)
        return policy._selecting_only(prompt, select_k, forced=prompt.n_tokens > cells)

    def within_bytes(self, prompt: Prompt, fewer: Fewer) -> Iterator[Choice]:
        policy = self._evicting
        if not policy.keeps_selected:
            yield from super().within_bytes(prompt, fewer)
            return
        yield Choice(self, None)
        yield policy._selecting_only(prompt, policy.select_k, forced=True)
        if self.keep == "all":  # on a CPU what waits for the selection takes the same memory
            yield from self.earlier(prompt)
        for select_k in fewer(policy.select_k):
            yield policy._selecting_only(prompt, select_k, forced=True)

    @property
    def _evicting(self) -> Selecting:
        """This policy where a budget does not hold the cells of all tokens."""
        return replace(self, keep="selected") if self.keep == "all" and not self.two_passes else self  # type: ignore[type-var]

    def _selecting_only(self, prompt: Prompt, select_k: int, forced: bool) -> Choice:
        """No more than `select_k` tokens; `forced`: they are selected in any case, if only after the last layer."""
        policy: Selecting = self
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
