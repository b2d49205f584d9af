"""How the set is made of what a layer attends to: parameters that policies share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from ..selection.arrays import Floats, Ints
from ..selection.parameters import Heads, Units
from ..selection.ranks import Choose, selected_positions
from ..selection.unit_scores import selected_units
from .answers import Prompt
from .base import Policy
from .checks import flag, integer, one_of


@dataclass(frozen=True, kw_only=True)
class InUnits(Policy):
    """A policy that selects, token by token or in whole sentences.

    units  what is kept or dropped as a whole: "tokens", or "sentences", lines and rows, each as good as its 8 best
           tokens; only the last one that `select_k` has room for is kept in part
    """

    units: Units = "tokens"

    def __post_init__(self) -> None:
        one_of("units", self.units, get_args(Units))

    def choose(self, prompt: Prompt) -> Choose:
        """What makes the set of the past tokens' scores."""
        if self.units == "tokens":
            return selected_positions

        def choose(scores: Floats, top: int, window: int) -> Ints:
            return selected_units(scores, top, window, prompt.unit_starts)

        return choose


@dataclass(frozen=True, kw_only=True)
class ByAttention(InUnits):
    """One whose scores are attention, which may be combined over heads and layers in other ways than the papers'.

    heads         how a token's pooled scores of the heads are combined: "sum", or "max", so that a few retrieval heads
                  do not drown
    score_layers  the set is chosen by each token's maximum over the scores of so many last layers, >= 1
    contrast      the set is chosen by what the question adds to the attention of a turn that asks nothing, which runs
                  beside the prompt up to the selection; a document's beginning and its most striking words then count
                  no more than they should
    """

    heads: Heads = "sum"
    score_layers: int = 1
    contrast: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("heads", self.heads, get_args(Heads))
        self._set_checked(
            {
                "score_layers": integer("score_layers", self.score_layers, 1),
                "contrast": flag("contrast", self.contrast),
            }
        )

    @property
    def by_attention(self) -> dict[str, Any]:
        """These parameters, for another policy that has them."""
        return {name: getattr(self, name) for name in ("units", "heads", "score_layers", "contrast")}
