"""What the policies share that run the model again, on the selected tokens alone."""

from __future__ import annotations

from typing import ClassVar

from .answers import Pass, Prompt, WorstCase
from .selecting import Selecting


class TwoPasses(Selecting):
    """The first pass only chooses `select_k` tokens; a second one runs on these, at positions 0..select_k-1.

    A budget lowers `select_k`, instead of compressing layers. Comes first among the base classes.
    """

    two_passes: ClassVar[bool] = True

    @property
    def keeps_selected(self) -> bool:
        return True

    def worst_case(self, prompt: Prompt, keep: int | None = None) -> WorstCase:
        one = super().worst_case(prompt, keep)
        if one.latest is None or one.latest == prompt.n_layer:
            return one
        # the first pass leaves its window alone, and nothing once the second begins
        first = Pass((prompt.n_tokens,) * (one.latest + 1), self.window)
        return WorstCase(one.latest, (first, Pass((self.select_k,) * prompt.n_layer, keep)))
