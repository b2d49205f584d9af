"""What the end of a prompt attended to in a document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .evidence import Span, spans, top_tokens
from .text import Part

SHOWN_SHARE = 1 / 8
"""Share of the tokens that count as evidence where nothing was pruned."""


@dataclass(frozen=True, eq=False)
class Attention:
    """What the end of a prompt attended to in a document.

    parts    the document's text
    offsets  int64 [n + 1], where its n tokens begin in that text
    scores   float32 [n], their pooled attention at `layer`; 0 for tokens within the observation window
    kept     bool [n], which of them went deeper; None: nothing was pruned
    """

    parts: Sequence[Part]
    offsets: NDArray[np.int64]
    scores: NDArray[np.float32]
    kept: NDArray[np.bool_] | None
    layer: int

    @cached_property
    def shown(self) -> NDArray[np.bool_]:
        """bool [n]: the tokens that were kept, or, where nothing was pruned, those with the most attention."""
        return top_tokens(self.scores, SHOWN_SHARE) if self.kept is None else self.kept

    @cached_property
    def evidence(self) -> list[Span]:
        return spans(self.shown, self.scores, self.offsets, self.parts)
