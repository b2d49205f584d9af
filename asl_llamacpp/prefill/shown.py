"""What a document's passages are ranked by: other scores than those that choose what goes deeper.

A set wants each token's maximum, so that nothing that any head looks at is lost; a ranking wants the sum, which fewer
accidents lift. And it wants a layer where the model has looked the question up, wherever the selection is.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..engine.kinds import Reduction
from ..policies import Policy
from ..selection.arrays import Floats
from ..selection.contrast import less
from ..selection.heads import by_layer
from ..selection.scores import token_scores


class Shown:
    """Sums the heads of one layer, or the chosen ones of all layers up to the selection, less a neutral turn's.

    Args:
        policy: resolved.
        scored: the layers that give scores.
        layer: where the sum of all heads is taken, or at the nearest layer before it or the latest that may select; if
            the selection is earlier still, or the scores are no attention, the selection's own scores are taken.
        window: the prompt's last tokens that act as queries.
        products: the selection's scores are inner products.
    """

    def __init__(self, policy: Policy, scored: Sequence[int], layer: int, window: int, products: bool) -> None:
        self.window, self.kernel = window, policy.kernel
        latest = policy.latest_layer
        heads: dict[int, tuple[int, ...]] = {}
        if not isinstance(policy.heads, str):
            heads = by_layer(policy.heads)
        elif not products:
            before = [il for il in scored if il <= layer and (latest is None or il <= latest)]
            heads = dict.fromkeys(before[-1:] or scored[:1], ())
        self.wanted = {il: Reduction("sum", heads=rows) for il, rows in heads.items()}
        """By layer, what is looked at."""
        self.adds = not isinstance(policy.heads, str)
        self.scores: Floats | None = None
        """float32 [n - window]; None: nothing was looked at yet."""
        self.layer: int | None = None
        """The latest layer that these are of."""
        self.contrasted = False

    def add(self, il: int, sums: Floats, neutral: Floats | None) -> None:
        """Of layer `il`, one of `wanted`: its heads' sum, float32 [1, n], and the same of the neutral turn, pooled."""
        scores = token_scores(sums, self.window, self.kernel)
        scores = scores if neutral is None else less(scores, neutral)
        self.scores = scores if self.scores is None or not self.adds else self.scores + scores
        self.layer, self.contrasted = il, neutral is not None

    def take(self, il: int, scores: Floats, neutral: Floats | None) -> None:
        """Of layer `il`, which the selection looks at: its own scores, for want of others."""
        self.scores, self.layer = scores if neutral is None else less(scores, neutral), il
        self.contrasted = neutral is not None

    def falls_back_on(self, il: int) -> bool:
        """Whether the selection's own scores at layer `il` may be what is shown: so far nothing better has come."""
        return not self.adds and il not in self.wanted and not (self.wanted and il > max(self.wanted))
