"""PyramidInfer: fewer tokens from layer to layer, chosen by what the last ones attend to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from ..selection.narrowing import Narrowing
from .answers import Pass, Prompt, WorstCase
from .base import Policy
from .checks import check_kept, check_layer, check_pooling, check_resolved, integer, layer_or_auto


@dataclass(frozen=True)
class PyramidInfer(Policy):
    """Drop tokens after each of many layers during the prefill (arXiv 2405.12532).

    layer     the first layer after which tokens are dropped; "auto": L // 4 for a model of L layers
    select_k  tokens that the last layer runs on, the window included, > window
    every     tokens are dropped after each so many-th layer, >= 1
    window    the last `window` prompt tokens, whose attention chooses; they are always kept, >= 1
    kernel    width of the average pooling over positions, odd, >= 1

    Where tokens are dropped the same share of them goes on, down to `select_k`. As in the paper the tokens that a layer
    drops are computed in no deeper one, and each layer chooses among those that are left, by its own attention.

    Not as in the paper: a layer's scores are there once it has run, so its cells are those of its own tokens, and what
    it chooses is what the next one holds. All queries of the window count alike, where the paper lets later ones count
    more; the window has a fixed width, and not a share of the prompt. The shares by layer are not fitted to a model.
    While decoding nothing more is dropped.

    Raises TypeError or ValueError when made with a bad value.
    """

    layer: int | Literal["auto"] = "auto"
    select_k: int = 2048
    every: int = 1
    window: int = 32
    kernel: int = 1

    name: ClassVar[str] = "pyramidinfer"

    def __post_init__(self) -> None:
        names = ("select_k", "every", "window", "kernel")
        checked: dict[str, Any] = {name: integer(name, getattr(self, name), 1) for name in names}
        self._set_checked({**checked, "layer": layer_or_auto(self.layer)})
        check_pooling(self.kernel)
        check_kept("select_k", self.select_k, self.window)

    def resolve(self, n_layer: int) -> PyramidInfer:
        """This policy for a model of `n_layer` layers; ValueError if it has no such layer."""
        check_layer("layer", self.layer, n_layer)
        return replace(self, layer=n_layer // 4) if self.layer == "auto" else self

    @property
    def latest_layer(self) -> int:
        check_resolved(self.layer)
        return int(self.layer)

    def counts(self, prompt: Prompt) -> dict[int, int]:
        """The tokens that go on, by the layer after which others are dropped; {} for a prompt that stays whole."""
        first, n = self.resolve(prompt.n_layer).latest_layer, prompt.n_tokens
        layers = [il for il in prompt.scored if first <= il < prompt.n_layer - 1][:: self.every]
        if n <= self.select_k or not layers:
            return {}
        share = (self.select_k / n) ** (1 / len(layers))
        counts = {il: max(round(n * share**i), self.select_k) for i, il in enumerate(layers, start=1)}
        return {**counts, layers[-1]: self.select_k}

    def worst_case(self, prompt: Prompt, keep: int | None = None) -> WorstCase:
        counts, n = self.counts(prompt), prompt.n_tokens
        tokens: list[int] = []
        for il in range(prompt.n_layer):
            tokens.append(n)
            n = counts.get(il, n)
        return WorstCase(min(counts, default=None), (Pass(tuple(tokens), keep),))

    def selector(self, prompt: Prompt) -> Narrowing:
        return Narrowing(self.counts(prompt), prompt.n_tokens, self.window, self.kernel)
