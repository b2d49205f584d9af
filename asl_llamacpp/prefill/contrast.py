"""Tokens that ask nothing, run beside a prompt: what they look at is what any question would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..engine.binding import Engine
from ..selection.arrays import Floats
from ..selection.contrast import less, neutral_scores
from ..selection.heads import has_say, set_scores
from ..selection.parameters import Heads


@dataclass(frozen=True)
class Contrast:
    """`tokens`, which follow the prompt's first `n_seen` in the place of the rest.

    found  neutral scores that are there already, by n_seen and layer; more are added. Those of a document that has run
           through all layers are the same whatever is asked
    """

    n_seen: int
    tokens: Sequence[int]
    found: dict[tuple[int, int], Floats] = field(default_factory=dict)


class Contrasting:
    """A contrast during one prefill."""

    def __init__(self, engine: Engine, contrast: Contrast, window: int, kernel: int, heads: Heads) -> None:
        self.engine, self.contrast = engine, contrast
        self.window, self.kernel, self.heads = window, kernel, heads
        self._latest: tuple[int, Floats, Floats] | None = None
        self._only: int | None = None

    def begin(self, only: int | None) -> None:
        """After `Engine.begin` or `Engine.resume`; `only`: the one layer that will be looked at, if no other will be.

        If that layer's scores are there nothing runs beside the prompt.
        """
        self._only = only
        if only is None or (self.contrast.n_seen, only) not in self.contrast.found:
            self.engine.contrast(self.contrast.n_seen, self.contrast.tokens)

    def look(self, il: int) -> Floats | None:
        """The neutral scores at layer `il` of the last run, float32 [n_seen]; None where no chosen head lies."""
        if not has_say(self.heads, il):
            return None
        key = self.contrast.n_seen, il
        neutral = self.contrast.found.get(key) if il == self._only else None
        if neutral is None:
            share = self.window / len(self.contrast.tokens)
            neutral = neutral_scores(self.engine.contrast_scores(il), self.kernel, self.heads, share, il)
        if il == self._only:
            self.contrast.found[key] = neutral
        self._latest = il, self.engine.scores(il), neutral
        return neutral

    @property
    def added(self) -> Floats | None:
        """What the question adds to the contrast's attention at the latest layer that was looked at.

        float32 [n_prompt - window]; None before any was.
        """
        if self._latest is None:
            return None
        il, sums, neutral = self._latest
        return less(set_scores(sums, self.window, self.kernel, self.heads, il), neutral)
