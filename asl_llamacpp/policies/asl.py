"""ASL: the layer is chosen by the variance of the tokens' ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from ..selection.parameters import Reference
from ..selection.rule import Selector
from .answers import Prompt
from .base import Choice
from .checks import check_kept, check_layer, check_pooling, check_resolved, integer, number, one_of
from .choice import ByAttention
from .selecting import Kept, Selecting

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class ASL(ByAttention, Selecting):
    """Adaptive layer selection (arXiv 2601.07667): prune at the layer where the ranks of the tokens settle.

    tau       select when the relative variance of the ranks, V_l / V_ref, is below it; finite, > 0
    l_min     first layer (0-based) at which the rule is evaluated, >= l_obs - 1;
              "auto": max(l_obs - 1, round(10 L / 32)) for a model of L layers
    l_max     layer after which selection is forced if the rule has not fired, >= l_min; None: never, which is
              the paper exactly; "auto": round(0.75 L), at least l_min and at most L - 1
    l_obs     how many most recent layers the variance looks at, >= 2
    window    observation window: the last `window` prompt tokens act as queries and are always kept, >= 1
    kernel    width of the average pooling over positions, odd, >= 1
    select_k  tokens kept by the selection, the window included, > window
    layer     select at this layer whatever the ranks say; the rule is not evaluated. None: the rule decides

    Six that the paper does not have; their defaults are the paper's rule:

    reference     what V_l is relative to: "first", V at l_min; "peak", the largest V from l_min on, which is the
                  same wherever V falls from l_min on
    heads         as in `ByAttention`: "sum" or "max", of which the ranks, and so the rule, see the combined scores;
                  or chosen heads, beside which the ranks see the sum of all
    score_layers  as there, >= 1; the rule sees each layer alone
    units         as there: "tokens" or "sentences"; the rule sees tokens
    decide_every  the rule is evaluated at every layer, but acted on only at l_min, at each so many-th layer after it,
                  and at l_max: the layers between run in one pass over the prompt, >= 1. Selection may come up to
                  decide_every - 1 layers later than the rule says, by the scores of the layer where it comes
    keep          which cells the layers up to the selection keep: "all"; "selected", those of the selected tokens;
                  "heads", select_k of its own for each KV head. See `Selecting`

    A model with so few layers that an "auto" l_min lies beyond its last one never fires, and its "auto" l_max
    is None: its prompts stay whole unless `layer` or a smaller `l_obs` is given.

    Raises TypeError or ValueError when made with a bad value.
    """

    tau: float = 0.3
    l_min: int | Literal["auto"] = "auto"
    l_max: int | Literal["auto"] | None = "auto"
    l_obs: int = 8
    window: int = 32
    kernel: int = 7
    select_k: int = 2048
    layer: int | None = None
    reference: Reference = "first"
    decide_every: int = 1
    keep: Kept = "all"

    name: ClassVar[str] = "asl"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("reference", self.reference, get_args(Reference))
        one_of("keep", self.keep, get_args(Kept))
        checked: dict[str, Any] = {"tau": number("tau", self.tau)}
        if not (math.isfinite(self.tau) and self.tau > 0):
            raise ValueError(f"tau must be finite and greater than 0, not {self.tau}: the paper's is 0.3")
        counts = ("window", "kernel", "select_k", "decide_every")
        for name, least in (("l_obs", 2), *((name, 1) for name in counts)):
            checked[name] = integer(name, getattr(self, name), least)
        for name, words in (("l_min", ("auto",)), ("l_max", ("auto", None)), ("layer", (None,))):
            value = getattr(self, name)
            if value in words:
                continue
            if isinstance(value, str):
                raise ValueError(f"{name} must be an integer or {' or '.join(map(repr, words))}, not {value!r}")
            checked[name] = integer(name, value, 0)
        self._set_checked(checked)
        self._check_together()

    def _check_together(self) -> None:
        for name in ("layer", "l_max"):
            value = getattr(self, name)
            if isinstance(value, int) and (name == "layer" or self.layer is None):
                self.check_not_before(name, value)
        check_pooling(self.kernel)
        check_kept("select_k", self.select_k, self.window)
        if isinstance(self.l_min, int) and self.l_min < self.l_obs - 1:
            raise ValueError(
                f"l_min={self.l_min} is too early to look back over l_obs={self.l_obs} layers: "
                f"use l_min >= {self.l_obs - 1}, or l_obs <= {self.l_min + 1}"
            )
        if isinstance(self.l_min, int) and isinstance(self.l_max, int) and self.l_max < self.l_min:
            raise ValueError(
                f"l_max={self.l_max} lies before l_min={self.l_min}, so the rule would never be evaluated: "
                f"raise l_max, lower l_min, or fix the layer with layer={self.l_max}"
            )

    def resolve(self, n_layer: int) -> Self:
        """This policy for a model of `n_layer` layers: "auto" replaced by numbers (l_max may become None).

        Raises ValueError if a given layer is not in the model or a given l_max lies before the "auto" l_min.
        """
        n_layer = integer("n_layer", n_layer, 1)
        auto = max(self.l_obs - 1, round(10 * n_layer / 32))
        for name in ("layer", "l_min", "l_max"):
            if name != "l_min" or self.l_min != auto:  # which a small model may not have: then the rule never fires
                check_layer(name, getattr(self, name), n_layer)
        l_min = auto if self.l_min == "auto" else self.l_min
        l_max = self.l_max
        if l_max == "auto":
            l_max = min(max(l_min, round(0.75 * n_layer)), n_layer - 1) if l_min < n_layer else None
            l_max = max(l_max, self.chosen[0][0]) if l_max is not None and self.chosen else l_max
        return replace(self, l_min=l_min, l_max=l_max)

    def selector(self, prompt: Prompt) -> Selector:
        n_layer = prompt.n_layer
        return Selector(self.resolve(n_layer), prompt.n_tokens, prompt.scored, self.choose(prompt), n_layer)

    @property
    def threshold(self) -> float | None:
        return self.tau if self.layer is None else None

    @property
    def latest_layer(self) -> int | None:
        check_resolved(self.l_min, self.l_max)
        latest = self.l_max if self.layer is None else self.layer
        return None if latest is None else int(latest)

    def selecting_by(self, layer: int) -> Self:
        """It selects just there if the rule begins later."""
        before_rule = isinstance(self.l_min, int) and self.l_min > layer
        return replace(self, layer=layer) if before_rule else replace(self, l_max=layer)

    def earlier(self, prompt: Prompt) -> Iterator[Choice]:
        """A lower l_max, down to the paper's l_min, even if the rule itself begins later."""
        if self.layer is not None or prompt.n_tokens <= self.select_k:
            return
        check_resolved(self.l_min, self.l_max)
        paper = ASL(l_obs=self.l_obs).resolve(prompt.n_layer).l_min
        latest = self.worst_case(prompt).latest or 0
        least = max(min(int(paper), int(self.l_min)) + 1, *(layer for layer, _ in self.chosen[:1]), 0)
        for layer in range(min(latest, prompt.n_layer - 1) - 1, least - 1, -1):
            reason = f"selection after layer {layer} at the latest, instead of {self.l_max or 'never'}, fits the budget"
            yield Choice(self.selecting_by(layer), None, reason, layer)
