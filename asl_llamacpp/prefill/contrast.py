"""Tokens that ask nothing, run beside a prompt: what they look at is what any question would."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..engine.binding import Engine
from ..engine.kinds import Reduction
from ..selection.arrays import Floats
from ..selection.contrast import neutral_scores
from ..selection.reduced import part

Found = dict[str, Floats]
"""By layer and kind of the scores, see `Contrast.key`: float32 [n_seen]."""


@dataclass(frozen=True)
class Contrast:
    """`tokens`, which follow the prompt's first `n_seen` in the place of the rest.

    found  neutral scores that are there already; more are added. Those of a document are the same whatever is asked
    """

    n_seen: int
    tokens: Sequence[int]
    found: Found = field(default_factory=dict)

    @cached_property
    def _of_tokens(self) -> str:
        return f"{zlib.crc32(np.asarray(self.tokens, dtype=np.int32).tobytes()):08x}"

    def key(self, il: int, want: Reduction, kernel: int) -> str:
        """What tells the scores of layer `il` from others: the tokens, and how they are pooled and combined."""
        heads = "+".join(map(str, want.heads)) or "all"
        kind = "products" if want.products else "attention"
        return f"{il} {want.combining} {heads} {kind} {kernel} {self.n_seen} {self._of_tokens}"


class Contrasting:
    """A contrast during one prefill."""

    def __init__(self, engine: Engine, contrast: Contrast, window: int, kernel: int) -> None:
        self.engine, self.contrast, self.kernel = engine, contrast, kernel
        self._share = np.float32(window / len(contrast.tokens))

    def runs(self, wanted: Iterable[tuple[int, Reduction]]) -> bool:
        """Whether anything runs beside the prompt: not if all is there that may be `wanted`, by layer."""
        return any(self.contrast.key(il, want, self.kernel) not in self.contrast.found for il, want in wanted)

    def begin(self, wanted: Iterable[tuple[int, Reduction]]) -> bool:
        """After `Engine.begin` or `Engine.resume`: whether it runs. `wanted`: all that may be looked at, by layer."""
        runs = self.runs(wanted)
        if runs:
            self.engine.contrast(self.contrast.n_seen, self.contrast.tokens)
        return runs

    def look(self, il: int, asked: Reduction, want: Reduction) -> Floats:
        """The neutral scores at layer `il` of the last run, which was `asked` for its scores: float32 [n_seen]."""
        key = self.contrast.key(il, want, self.kernel)
        neutral = self.contrast.found.get(key)
        if neutral is None:
            sums = part(self.engine.contrast_scores(il), asked, want, 0)
            neutral = self.contrast.found[key] = neutral_scores(sums, self.kernel, "sum", 1.0)
        return neutral * self._share
