"""Ways to choose a set from the scores of a prompt's layers: by name, as lines and rules refer to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..policies import ASL, Heads, Units, parse_policy
from ..selection.arrays import Floats, Ints
from ..selection.contrast import less, neutral_scores
from ..selection.heads import by_layer, set_scores
from ..selection.ranks import selected_positions
from ..selection.unit_scores import selected_units
from .recorded import RecordedPrompt
from .signals import COMBINED, combined

SENTENCES = "sentences"
"""The paper's scores, less a neutral turn's, in sentences."""
SENTENCES_MAX = "sentences, max4"
"""Each token's maximum over heads and 4 layers, less a neutral turn's, in sentences."""
_HEADS = "heads "


class Way(NamedTuple):
    """As the policies' options of these names."""

    heads: Heads
    score_layers: int
    units: Units
    contrast: bool


PAPERS = Way("sum", 1, "tokens", False)


def way_named(name: str) -> Way:
    """One of `COMBINED`, `SENTENCES`, `SENTENCES_MAX`, or what `of_heads` has named."""
    if name in COMBINED:
        return Way(*COMBINED[name], "tokens", False)
    if name in (SENTENCES, SENTENCES_MAX):
        return Way(*COMBINED["sum" if name == SENTENCES else "max4"], "sentences", True)
    return Way(_heads(name), 1, "sentences", True)


def _heads(name: str) -> Heads:
    policy = parse_policy(f"asl:heads={name[len(_HEADS) :]}")
    assert isinstance(policy, ASL)
    return policy.heads


def of_heads(heads: Heads) -> str:
    """The name of chosen heads, less a neutral turn's, in sentences."""
    return _HEADS + ASL(heads=heads).option_text("heads")


def name_of(policy: ASL, names: Sequence[str]) -> str:
    """Which of these ways `policy` chooses by."""
    wanted = Way(policy.heads, policy.score_layers, policy.units, policy.contrast)
    return next(name for name in names if way_named(name) == wanted)


class Choosing:
    """The sets of one recorded prompt.

    Args:
        prompt: it is recorded; what the engine holds is dropped now, and not later.
        names: the ways that will be asked for.
        window, kernel: of the policy.
        neutral: tokens of a turn that asks nothing.
    """

    def __init__(
        self, prompt: RecordedPrompt, names: Sequence[str], window: int, kernel: int, neutral: Sequence[int]
    ) -> None:
        self.prompt, self.window, self.kernel, self.neutral = prompt, window, kernel, neutral
        self.sums = prompt.window_sums(window)
        contrasts = any(way_named(name).contrast for name in names)
        self._neutral_sums = prompt.neutral_sums(window, neutral) if contrasts else []

    def has(self, name: str, layer: int) -> bool:
        """Whether a selection after `layer` can be made this way: there is a scored layer, and a chosen head."""
        heads = way_named(name).heads
        first = self.prompt.scored[0] if isinstance(heads, str) else heads[0][0]
        return layer >= first

    def scores(self, name: str, layer: int) -> Floats:
        """Of the past tokens, float32 [n - window], for a selection after `layer`."""
        if name in COMBINED:
            return combined(self.sums[: layer + 1], self.window, self.kernel, name)
        heads, n_layers, *_ = way_named(name)
        before = [il for il in self.prompt.scored if il <= layer]
        layers = before[-n_layers:] if isinstance(heads, str) else [il for il in by_layer(heads) if il <= layer]
        found: Floats = np.max([self._added(heads, il) for il in layers], axis=0)
        return found

    def positions(self, name: str, scores: Floats, select_k: int) -> Ints:
        """The set, int32, sorted."""
        top = select_k - self.window
        if way_named(name).units == "tokens":
            return selected_positions(scores, top, self.window)
        return selected_units(scores, top, self.window, self.prompt.prompt.unit_starts)

    def _added(self, heads: Heads, il: int) -> Floats:
        sums, neutral = self.sums[il], self._neutral_sums[il]
        assert sums is not None and neutral is not None
        share = self.window / len(self.neutral)
        plain = set_scores(sums, self.window, self.kernel, heads, il)
        return less(plain, neutral_scores(neutral, self.kernel, heads, share, il))
