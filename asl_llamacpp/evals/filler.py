"""Text to hide things in: noise, prose, numbers, and passages put at a depth. All random choices are the caller's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import cycle
from typing import Generic, TypeVar

from numpy.random import Generator

from ..llama.opening import EXAMPLE

T = TypeVar("T")

_SENTENCE_END = r"(?<=[.!?][\u201d\u2019)]) (?=\S)|(?<=[.!?]) (?=\S)"

NOISE = (
    "The meadow is green.",
    "The sky above it is blue.",
    "The sun shines and is yellow.",
    "Off we walk.",
    "Out and home once more.",
)
"""After RULER's noise (arXiv 2404.06654), in other words: a few short sentences, over and over."""


class Stream(Generic[T]):
    """The beginning of an endless iterator, kept, so that it is the same each time it is asked for."""

    def __init__(self, source: Iterator[T]) -> None:
        self._source = source
        self._seen: list[T] = []

    def first(self, n: int) -> list[T]:
        while len(self._seen) < n:
            self._seen.append(next(self._source))
        return self._seen[:n]


def noise() -> Iterator[str]:
    """The noise sentences in turn, a line each round."""
    for i, sentence in enumerate(cycle(NOISE), start=1):
        yield sentence + ("\n" if i % len(NOISE) == 0 else " ")


@cache
def _paragraphs() -> tuple[str, ...]:
    text = EXAMPLE.read_text(encoding="utf-8")
    return tuple(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text) if len(paragraph.split()) > 8)


def prose(rng: Generator) -> Iterator[str]:
    """Sentences of the Jargon File (public domain, about 4,000 tokens), its paragraphs in an order of their own.

    Longer texts repeat it, in a new order each round.
    """
    paragraphs = _paragraphs()
    while True:
        for i in rng.permutation(len(paragraphs)):
            sentences = re.split(_SENTENCE_END, paragraphs[i])
            yield from (f"{sentence} " for sentence in sentences[:-1])
            yield f"{sentences[-1]}\n\n"


def number(rng: Generator, digits: int = 7) -> str:
    return str(rng.integers(10 ** (digits - 1), 10**digits))


def uuid(rng: Generator) -> str:
    digits = rng.bytes(16).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def different(make: Callable[[], T], taken: set[T] | None = None) -> Iterator[T]:
    """What `make` gives, without what it gave before or `taken` holds."""
    seen = set() if taken is None else taken
    while True:
        value = make()
        if value not in seen:
            seen.add(value)
            yield value


def insert_at(units: Sequence[str], passages: Sequence[str], depths: Sequence[float]) -> str:
    """`units` joined, with each passage at the border between two units that is nearest to its depth.

    A depth is a share of the units' characters: 0 is the beginning, 1 the end. Passages at one border keep their order.
    """
    borders = [0]
    for unit in units:
        borders.append(borders[-1] + len(unit))
    places: list[list[str]] = [[] for _ in borders]
    for passage, depth in zip(passages, depths, strict=True):
        nearest = min(range(len(borders)), key=lambda i: abs(borders[i] - depth * borders[-1]))
        places[nearest].append(passage)
    parts = ["".join(places[0])]
    for unit, here in zip(units, places[1:], strict=True):
        parts += [unit, *here]
    return "".join(parts)


def random_depths(rng: Generator, n: int) -> list[float]:
    """`n` of 40 evenly spaced depths from 0 to 1, sorted, as RULER draws them."""
    return sorted(float(i) / 39 for i in rng.choice(40, size=n, replace=False))
