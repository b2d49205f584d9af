"""What the end of a prompt attended to in a document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..selection.arrays import Ints
from .evidence import Ranked, Scored, Span, best_passages, kept_ones, scored_passages
from .text import Part

SHOWN_SHARE = 1 / 8
"""Share of the tokens that count as evidence where nothing was pruned."""

LEAST_RANKED = 3
"""With fewer passages than this a ranking says nothing."""

_NO_PROOF = "This is no proof that the answer rests on them."


@dataclass(frozen=True, eq=False)
class Attention:
    """What the end of a prompt attended to in a document.

    parts    the document's text
    offsets  int64 [n + 1], where its n tokens begin in that text
    starts   int32 [n_units], the tokens that its passages begin with
    scores   float32 [n], their pooled attention at `layer`; 0 for tokens within the observation window
    kept     bool [n], which of them went deeper; None: nothing was pruned
    """

    parts: Sequence[Part]
    offsets: NDArray[np.int64]
    starts: Ints
    scores: NDArray[np.float32]
    kept: NDArray[np.bool_] | None
    layer: int

    @cached_property
    def shown(self) -> NDArray[np.bool_]:
        """bool [n]: the tokens that were kept, or, where nothing was pruned, those of the best passages."""
        if self.kept is not None:
            return self.kept
        n = len(self.scores)
        return best_passages(self._passages, n, math.ceil(SHOWN_SHARE * n))

    @cached_property
    def _passages(self) -> list[Scored]:
        return scored_passages(self.scores, self.offsets, self.starts, self.parts)

    @cached_property
    def ranked(self) -> Ranked:
        return kept_ones(self.shown, self._passages)

    @property
    def evidence(self) -> list[Span]:
        return self.ranked.spans

    @property
    def note(self) -> str:
        """What the evidence is, and what it is worth, in a few sentences."""
        by = f"by the attention that the question paid them at layer {self.layer}"
        if self.ranked.n < LEAST_RANKED:
            seen = "nothing was pruned" if self.kept is None else "what is shown went deeper"
            return f"The text is too short to rank its passages {by}: {seen}. {_NO_PROOF}"
        if self.kept is None:
            return (
                "Nothing was pruned: the model saw the whole text in all layers. These passages are its best eighth "
                f"{by}. {_NO_PROOF}"
            )
        return f"The model was allowed to see these passages in its deeper layers; they are ranked {by}. {_NO_PROOF}"
