"""What a policy is asked about, and what it answers: plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from ..selection.arrays import Ints
from ..selection.units import unit_starts


@dataclass(frozen=True)
class Prompt:
    """A prompt before its prefill.

    n_tokens  its length
    n_layer   layers of the model
    scored    the layers that give scores, in order: those without a sliding window
    texts     gives the bytes of each token, b"" for those of a template; None: nothing is known of its text
    """

    n_tokens: int
    n_layer: int
    scored: Sequence[int]
    texts: Callable[[], Sequence[bytes]] | None = field(default=None, compare=False)

    @cached_property
    def unit_starts(self) -> Ints:
        """The token that each of its sentences, lines or rows begins with, int32, the first one 0; found once.

        Raises ValueError if nothing is known of its text.
        """
        if self.texts is None:
            raise ValueError("units='sentences' needs the texts of the prompt's tokens: give them to Prompt")
        return unit_starts(self.texts())


@dataclass(frozen=True)
class Pass:
    """One run through layers: the most tokens that each runs on, and the cells that each KV head is left with then.

    `keep` None: the cells of all these tokens. `left`: cells that the layers which ran on more tokens are left with
    once the selection is made; None: it leaves them as they are.
    """

    tokens: tuple[int, ...]
    keep: int | None = None
    left: int | None = None


@dataclass(frozen=True)
class WorstCase:
    """The most that a prompt takes, whatever its scores turn out to be.

    latest  the deepest layer that all tokens run through; the number of layers if perhaps none is dropped; None: none
            will be
    passes  one after another; each begins with an empty cache. The last one says what is left
    """

    latest: int | None
    passes: tuple[Pass, ...]


Fewer: TypeAlias = Callable[[int], Iterable[int]]
"""Numbers of cells below a given one that are worth trying, from large to small; all exceed the policy's window."""
