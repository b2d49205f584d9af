"""GemFilter: a fixed layer chooses the tokens, then the model runs again on just those."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from ..engine.kinds import Reduction
from ..selection.arrays import Floats
from ..selection.scores import pool
from ..selection.selectors import OneLayer
from .answers import Prompt
from .checks import check_kept, check_layer, check_pooling, check_resolved, integer, layer_or_auto
from .choice import InUnits
from .two_passes import TwoPasses


@dataclass(frozen=True)
class GemFilter(TwoPasses, InUnits):
    """Run up to a fixed layer, keep the tokens that the last one's query points at, and start over (arXiv 2409.17422).

    layer     the layer (0-based) whose queries and keys choose; "auto": round(13 L / 32) for a model of L layers,
              which is the paper's layer 13 of Llama 3.1 8B
    kernel    width of the average pooling over positions, odd, >= 1
    select_k  tokens kept, the prompt's last one included, > 1
    units     as in `InUnits`: "tokens", the paper's, or "sentences"

    The second pass puts the kept tokens at positions 0..select_k-1: no layer holds more cells than that, and what the
    dropped tokens said is gone everywhere. Scores are the inner products of the last token's queries with all keys,
    pooled and summed over the heads. Raises TypeError or ValueError when made with a bad value.
    """

    layer: int | Literal["auto"] = "auto"
    kernel: int = 5
    select_k: int = 2048

    name: ClassVar[str] = "gemfilter"
    window: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        checked: dict[str, Any] = {name: integer(name, getattr(self, name), 1) for name in ("kernel", "select_k")}
        self._set_checked({**checked, "layer": layer_or_auto(self.layer)})
        check_pooling(self.kernel)
        check_kept("select_k", self.select_k, self.window)

    def resolve(self, n_layer: int) -> GemFilter:
        """This policy for a model of `n_layer` layers; ValueError if it has no such layer."""
        check_layer("layer", self.layer, n_layer)
        return replace(self, layer=min(round(13 * n_layer / 32), n_layer - 1)) if self.layer == "auto" else self

    @property
    def latest_layer(self) -> int:
        check_resolved(self.layer)
        return int(self.layer)

    def selector(self, prompt: Prompt) -> OneLayer:
        layer = self.resolve(prompt.n_layer).latest_layer
        reduction, choose = Reduction("sum", products=True), self.choose(prompt)
        return OneLayer(layer, self.select_k, prompt.n_tokens, prompt.scored, self.score, reduction, choose=choose)

    def score(self, products: Floats) -> Floats:
        """From [n_head, n], or the heads' sum [1, n], to [n - 1].

        The last token is no candidate: it stays, or there would be nothing to continue from.
        """
        scores: Floats = pool(products, self.kernel).sum(axis=0)[:-1]
        return scores
