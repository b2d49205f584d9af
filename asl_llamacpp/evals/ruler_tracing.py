"""RULER's variable tracking, `vt` (arXiv 2404.06654): one chain of assignments, four hops, in noise.

As in the paper: five variables named by five capital letters get one 5-digit value, each from the one before it, at
random depths but in order; the score is the share of the names found. Different: no worked example comes first.
"""

from __future__ import annotations

from typing import Any

from numpy.random import Generator

from .filler import Stream, different, insert_at, noise, number, random_depths
from .sample import Draft, Needle
from .words import letters

HOPS = 4


def variable_tracking(rng: Generator, n_tokens: int) -> Draft:
    fresh = different(lambda: letters(rng, 5).upper())
    names = [next(fresh) for _ in range(HOPS + 1)]
    value = number(rng, 5)
    sources = [value, *(f"VAR {name}" for name in names[:-1])]
    lines = [f"VAR {name} = {source}" for name, source in zip(names, sources, strict=True)]
    needles = tuple(Needle(f"VAR {name} =", name) for name in names)
    depths = random_depths(rng, len(lines))
    haystack = Stream(noise())

    def finish(n: int) -> dict[str, Any]:
        return {"depths": dict(zip(names, depths, strict=True))}

    return Draft(
        instruction="In the text below variables get values, some of them from other variables. Keep track of them.",
        context=lambda n: insert_at(haystack.first(n), [f"{line}\n" for line in lines], depths),
        question=f"Which variables have the value {value}, directly or through others? There are {len(names)}.",
        prefix=f"The {len(names)} variables that have the value {value} are",
        answers=tuple(names),
        needles=needles,
        finish=finish,
    )
