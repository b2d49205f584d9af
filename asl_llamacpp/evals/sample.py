"""What a task is: it makes prompts of a given length from a seed, and scores what a model answers to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..documents.query import Query

Seed: TypeAlias = int | tuple[int, ...]
Score: TypeAlias = Callable[[str, Sequence[str]], float]


@dataclass(frozen=True)
class Needle:
    """A passage of the prompt, `text`, that stands in it once, and the part of it that has to be found."""

    text: str
    answer: str


@dataclass(frozen=True, eq=False)
class Sample:
    """One prompt and what a right answer contains.

    query     document and question, as a chat or as a completion
    prefix    beginning of the answer, which the prompt already holds (RULER does so, lest a model talks around it)
    tokens    the whole prompt: what the model is given
    answers   as the task's `score` reads them
    evidence  positions of the answers' tokens in the prompt; None where no single passage holds them
    meta      what else is known about it, for `json.dumps`
    """

    query: Query
    prefix: str
    tokens: list[int]
    answers: tuple[str, ...]
    evidence: NDArray[np.int64] | None = None
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """A prompt whose length is still open: `context(n)` is its text with `n` units of filler, from 0 to `limit`.

    `finish(n)` says where the needles are and what else is known, once `n` is settled. `pad` False: the text is a
    document of the user's, which may be cut but not padded.
    """

    instruction: str
    context: Callable[[int], str]
    question: str
    answers: tuple[str, ...]
    prefix: str = ""
    needles: tuple[Needle, ...] = ()
    finish: Callable[[int], dict[str, Any]] = lambda n: {}
    limit: int | None = None
    pad: bool = True


class Task(Protocol):
    """`family` is the benchmark that it belongs to, `max_tokens` bounds its answers."""

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def max_tokens(self) -> int: ...

    def make(self, n_tokens: int, seed: Seed) -> Sample:
        """A prompt of `n_tokens` tokens, template and all; the same for the same seed."""
        ...

    def score(self, output: str, answers: Sequence[str]) -> float:
        """How right `output` is, 0 to 1."""
        ...

    def settled(self, output: str, answers: Sequence[str]) -> bool:
        """Whether the score is known already, whatever is said next."""
        ...
