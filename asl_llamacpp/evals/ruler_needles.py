"""RULER's eight needle tasks (arXiv 2404.06654), and the needle grid.

As in the paper: what the haystack is made of (noise, prose, or other needles), what keys and values are (words, 7-digit
numbers, UUIDs), how many of them there are, depths drawn from 40 even steps, and a score that is the share of the
values found. Different: the prose is the Jargon File instead of Paul Graham's essays, and the wording is our own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from numpy.random import Generator

from .filler import Stream, different, insert_at, noise, number, prose, random_depths, uuid
from .sample import Draft, Needle
from .words import key

Kind = Literal["words", "numbers", "uuids"]


@dataclass(frozen=True)
class NeedleTask:
    """`queries` of the `keys` keys are asked for; each has `values` values. `depth` None: random ones."""

    haystack: Literal["noise", "prose", "needles"] = "prose"
    key: Kind = "words"
    value: Kind = "numbers"
    keys: int = 1
    values: int = 1
    queries: int = 1
    depth: float | None = None

    def __call__(self, rng: Generator, n_tokens: int) -> Draft:
        keys = different(lambda: _make(rng, self.key))
        values = different(lambda: _make(rng, self.value))
        what = "number" if self.value == "numbers" else "code"
        asked = [next(keys) for _ in range(max(self.keys, self.queries))]
        pairs = [(name, next(values)) for name in asked for _ in range(self.values)]
        needles = [Needle(_sentence(what, name, value), value) for name, value in pairs]
        wanted = asked[: self.queries]
        answers = tuple(value for name, value in pairs if name in wanted)

        distractors = (_sentence(what, name, value) + "\n" for name, value in zip(keys, values, strict=False))
        haystack = Stream(self._filler(rng, distractors))
        end = " " if self.haystack == "prose" else "\n"
        placed = [needles[i] for i in rng.permutation(len(needles))]
        depths = random_depths(rng, len(needles)) if self.depth is None else [self.depth] * len(needles)
        passages = [needle.text + end for needle in placed]

        def finish(n: int) -> dict[str, Any]:
            return {"depths": {needle.answer: depth for needle, depth in zip(placed, depths, strict=True)}}

        several = len(answers) > 1
        names = wanted[0] if len(wanted) == 1 else f"{', '.join(wanted[:-1])} and {wanted[-1]}"
        return Draft(
            instruction=f"In the text below stand secret {what}s. Remember them: a question about them follows.",
            context=lambda n: insert_at(haystack.first(n), passages, depths),
            question=f"What {f'are all the secret {what}s' if several else f'is the secret {what}'} of {names} "
            "that the text above tells?",
            prefix=f"The secret {what}{'s' if several else ''} of {names} that the text tells "
            f"{'are' if several else 'is'}",
            answers=answers,
            needles=tuple(needle for needle in needles if needle.answer in answers),
            finish=finish,
        )

    def _filler(self, rng: Generator, distractors: Iterator[str]) -> Iterator[str]:
        if self.haystack == "needles":
            return distractors
        return noise() if self.haystack == "noise" else prose(rng)


def _make(rng: Generator, kind: Kind) -> str:
    return {"words": key, "numbers": number, "uuids": uuid}[kind](rng)


def _sentence(what: str, name: str, value: str) -> str:
    return f"One of the secret {what}s of {name} is {value}."


NEEDLES = {
    "niah_single_1": NeedleTask(haystack="noise"),
    "niah_single_2": NeedleTask(),
    "niah_single_3": NeedleTask(value="uuids"),
    "niah_multikey_1": NeedleTask(keys=4),
    "niah_multikey_2": NeedleTask(haystack="needles"),
    "niah_multikey_3": NeedleTask(haystack="needles", key="uuids", value="uuids"),
    "niah_multivalue": NeedleTask(values=4),
    "niah_multiquery": NeedleTask(queries=4),
}
