"""What a document's passages are ranked by: other scores than those that choose what goes deeper.

A set wants each token's maximum, so that nothing that any head looks at is lost; a ranking wants the sum, which fewer
accidents lift. And it wants layers where the model has looked the question up, wherever the selection is: several, for
the best one is another for each model, and its neighbours may tell nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..engine.kinds import Reduction
from ..policies import Policy
from ..selection.arrays import Floats
from ..selection.contrast import less
from ..selection.heads import by_layer
from ..selection.scores import token_scores

SHOWN_AT = (0.47, 0.6)
"""Where the layers lie that passages are ranked by, as shares of all layers."""

N_SHOWN = 5
"""Of these at most: each is looked at in every prefill of a document."""

NEUTRAL_WEIGHT = 2
"""How often what a turn that asks nothing looks at is subtracted: more than once, as a question looks there too."""


def shown_layers(n_layer: int) -> tuple[int, ...]:
    """The layers of a model that passages are ranked by, if they give scores."""
    first, last = (min(round(share * n_layer), n_layer - 1) for share in SHOWN_AT)
    return tuple(sorted({round(first + i * (last - first) / (N_SHOWN - 1)) for i in range(N_SHOWN)}))


class Shown:
    """Sums the heads of some layers, or the chosen ones of all layers up to the selection, less a neutral turn's.

    Args:
        policy: resolved.
        scored: the layers that give scores.
        layers: where the sum of all heads is taken, those that give scores and are no later than the latest that may
            select; if there are none, the nearest before. If the selection is earlier still, or the scores are no
            attention, the selection's own scores are taken.
        window: the prompt's last tokens that act as queries.
        products: the selection's scores are inner products.
    """

    def __init__(
        self, policy: Policy, scored: Sequence[int], layers: Sequence[int], window: int, products: bool
    ) -> None:
        self.window, self.kernel = window, policy.kernel
        latest = policy.latest_layer
        heads: dict[int, tuple[int, ...]] = {}
        if not isinstance(policy.heads, str):
            heads = by_layer(policy.heads)
        elif not products:
            before = [il for il in scored if il <= layers[-1] and (latest is None or il <= latest)]
            heads = dict.fromkeys([il for il in before if il in layers] or before[-1:] or scored[:1], ())
        self.wanted = {il: Reduction("sum", heads=rows) for il, rows in heads.items()}
        """By layer, what is looked at."""
        self._chosen = not isinstance(policy.heads, str)
        self._has_wanted = False
        self.scores: Floats | None = None
        """float32 [n - window]; None: nothing was looked at yet."""
        self.layer: int | None = None
        """The latest layer that these are of."""
        self.contrasted = False

    def add(self, il: int, sums: Floats, neutral: Floats | None) -> None:
        """Of layer `il`, one of `wanted`: its heads' sum, float32 [1, n], and the same of the neutral turn, pooled."""
        scores = self._added(token_scores(sums, self.window, self.kernel), neutral)
        self.scores = self.scores + scores if self.scores is not None and self._has_wanted else scores
        self.layer, self.contrasted, self._has_wanted = il, neutral is not None, True

    def take(self, il: int, scores: Floats, neutral: Floats | None) -> None:
        """Of layer `il`, which the selection looks at: its own scores, for want of others."""
        self.scores, self.layer = self._added(scores, neutral), il
        self.contrasted = neutral is not None

    def _added(self, scores: Floats, neutral: Floats | None) -> Floats:
        """What the question adds."""
        return scores if neutral is None else less(scores, NEUTRAL_WEIGHT * neutral)

    def falls_back_on(self, il: int) -> bool:
        """Whether the selection's own scores at layer `il` may be what is shown: so far nothing better has come."""
        return not self._chosen and not any(wanted <= il for wanted in self.wanted)
