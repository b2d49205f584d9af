"""How the set is made of what a layer attends to: parameters that policies share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from ..engine.kinds import LayerShape
from ..selection.arrays import Floats, Ints
from ..selection.parameters import ChosenHeads, Heads, Units
from ..selection.ranks import Choose, selected_positions
from ..selection.unit_scores import selected_units
from .answers import Prompt
from .base import Policy
from .checks import check_layer, flag, heads_of, integer, one_of


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
                  do not drown. Or some heads, as (layer, head), both from 0: the set is chosen by each token's maximum
                  over those of them that lie in the layers up to the selection, which comes no earlier than the first
    score_layers  the set is chosen by each token's maximum over the scores of so many last layers, >= 1; 1 where heads
                  are chosen
    contrast      the set is chosen by what the question adds to the attention of a turn that asks nothing, which runs
                  beside the prompt up to the selection; a document's beginning and its most striking words then count
                  no more than they should
    """

    heads: Heads = "sum"
    score_layers: int = 1
    contrast: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_checked(
            {
                "heads": heads_of(self.heads),
                "score_layers": integer("score_layers", self.score_layers, 1),
                "contrast": flag("contrast", self.contrast),
            }
        )
        if self.chosen and self.score_layers != 1:
            raise ValueError(
                f"score_layers={self.score_layers} says nothing where heads are chosen: leave one of the two out"
            )

    @property
    def chosen(self) -> ChosenHeads:
        """The chosen heads; none, if all count."""
        return () if isinstance(self.heads, str) else self.heads

    def check_heads(self, shapes: Sequence[LayerShape]) -> None:
        for layer, head in self.chosen:
            check_layer("heads: layer", layer, len(shapes))
            last = shapes[layer].n_head - 1
            if head > last:
                raise ValueError(f"heads: layer {layer} has the heads 0 to {last}, not {head}: choose one of them")
            if not shapes[layer].gives_scores:
                raise ValueError(
                    f"heads: layer {layer} gives no scores, it has a sliding window or no attention: choose others"
                )

    def check_not_before(self, name: str, layer: int | None) -> None:
        """ValueError for a selection at the layer that `name` gives, where none of the chosen heads has been seen."""
        if self.chosen and layer is not None and layer < self.chosen[0][0]:
            raise ValueError(
                f"{name}={layer} lies before the first of the chosen heads, in layer {self.chosen[0][0]}: "
                f"raise {name}, or choose an earlier head"
            )

    @classmethod
    def read_option(cls, name: str, text: str) -> Any:
        """Chosen heads as "14.3+18.5"."""
        if name != "heads" or not text[:1].isdigit():
            return super().read_option(name, text)
        pairs = [pair.split(".") for pair in text.split("+")]
        if not all(len(pair) == 2 and all(map(str.isdecimal, pair)) for pair in pairs):
            raise ValueError(f"heads={text}: name heads by layer and number, as 14.3+18.5")
        return tuple((int(layer), int(head)) for layer, head in pairs)

    def option_text(self, name: str) -> str:
        if name != "heads" or not self.chosen:
            return super().option_text(name)
        return "+".join(f"{layer}.{head}" for layer, head in self.chosen)

    @property
    def by_attention(self) -> dict[str, Any]:
        """These parameters, for another policy that has them."""
        return {name: getattr(self, name) for name in ("units", "heads", "score_layers", "contrast")}
