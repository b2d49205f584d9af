"""FastKV: selection at a fixed layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

from ..selection.rule import Selector
from .answers import Prompt
from .asl import ASL
from .checks import check_kept, check_layer, check_pooling, check_resolved, integer, layer_or_auto, one_of
from .choice import ByAttention
from .selecting import Kept, Selecting


@dataclass(frozen=True)
class FastKV(ByAttention, Selecting):
    """Prune at a fixed layer (arXiv 2502.01068): the tokens it attends to most are the only ones that go deeper.

    layer     the layer (0-based); "auto": L // 2 - 1 for a model of L layers, or that of the deepest chosen head
    window    observation window: the last `window` prompt tokens act as queries and are always kept, >= 1
    kernel    width of the average pooling over positions, odd, >= 1
    select_k  tokens kept by the selection, the window included, > window
    keep      which cells the layers up to the selection keep: "all", "selected" or "heads"; see `Selecting`

    and `heads`, `score_layers`, `units` and `contrast` as in `ByAttention`, whose defaults are the paper's.

    Raises TypeError or ValueError when made with a bad value.
    """

    layer: int | Literal["auto"] = "auto"
    window: int = 32
    kernel: int = 7
    select_k: int = 2048
    keep: Kept = "all"

    name: ClassVar[str] = "fastkv"

    def __post_init__(self) -> None:
        super().__post_init__()
        checked: dict[str, Any] = {
            name: integer(name, getattr(self, name), 1) for name in ("window", "kernel", "select_k")
        }
        self._set_checked({**checked, "layer": layer_or_auto(self.layer)})
        one_of("keep", self.keep, get_args(Kept))
        check_pooling(self.kernel)
        check_kept("select_k", self.select_k, self.window)
        self.check_not_before("layer", self.layer if isinstance(self.layer, int) else None)

    def resolve(self, n_layer: int) -> FastKV:
        """This policy for a model of `n_layer` layers; ValueError if it has no such layer."""
        check_layer("layer", self.layer, n_layer)
        if self.layer != "auto":
            return self
        return replace(self, layer=self.chosen[-1][0] if self.chosen else max(n_layer // 2 - 1, 0))

    @property
    def latest_layer(self) -> int:
        check_resolved(self.layer)
        return int(self.layer)

    def selector(self, prompt: Prompt) -> Selector:
        """ASL's, with the layer given."""
        layer = self.resolve(prompt.n_layer).latest_layer
        rule = ASL(layer=layer, window=self.window, kernel=self.kernel, select_k=self.select_k, **self.by_attention)
        return rule.selector(prompt)
