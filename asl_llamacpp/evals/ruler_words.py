"""RULER's two tasks of aggregation (arXiv 2404.06654): common words (`cwe`) and frequent words (`fwe`).

`cwe`, as in the paper: in a numbered, shuffled list ten words stand 30 times each and all others 3 times; the ten are
asked for. Prompts below 4,096 tokens cannot hold that: there it is 10 times and once. No worked example comes first.

`fwe`, as in the paper: words of random letters, the k-th most frequent k**-2 / zeta(2) of them all; the most frequent
one is written "..." and is noise, the next three are asked for. Every prompt draws its own words.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from .filler import Stream, different
from .sample import Draft
from .words import letters, vocabulary

COMMON, FREQUENT = 10, 3
LONG = 4096


def common_words(rng: Generator, n_tokens: int) -> Draft:
    words = Stream(vocabulary(rng))
    common = words.first(COMMON)
    often, seldom = (30, 3) if n_tokens >= LONG else (10, 1)
    order = int(rng.integers(2**63))

    def context(n: int) -> str:
        listed = np.repeat(words.first(COMMON + n), [often] * COMMON + [seldom] * n)
        shuffled = np.random.default_rng(order).permutation(listed)
        return " ".join(f"{i}. {word}" for i, word in enumerate(shuffled, start=1))

    return Draft(
        instruction="Below is a numbered list of words. Some stand in it much more often than others: remember them.",
        context=context,
        question=f"Which are the {COMMON} most common words of the list above?",
        prefix=f"The {COMMON} most common words of the list are",
        answers=tuple(common),
        finish=lambda n: {"times": [often, seldom]},
    )


def frequent_words(rng: Generator, n_tokens: int) -> Draft:
    words = Stream(different(lambda: letters(rng, 6)))
    order = int(rng.integers(2**63))

    def counts(n: int) -> list[int]:
        """How often each word stands among about `n`: those that round to none are left out."""
        total = n * 6 / math.pi**2
        return [round(total / k**2) for k in range(1, math.isqrt(int(2 * total)) + 1)]

    def context(n: int) -> str:
        times = counts(n + _FEWEST)
        coded = ["...", *words.first(len(times) - 1)]
        return " ".join(np.random.default_rng(order).permutation(np.repeat(coded, times)))

    return Draft(
        instruction="Below is a text of coded words. Count how often each stands in it; the dots do not matter.",
        context=context,
        question=f"Which are the {FREQUENT} most frequent coded words of the text above?",
        prefix=f"The {FREQUENT} most frequent coded words are",
        answers=tuple(words.first(FREQUENT)),
        finish=lambda n: {"times": counts(n + _FEWEST)[1 : FREQUENT + 2]},
    )


_FEWEST = 40
"""Words of the shortest `fwe` prompt: the three that are asked for must differ in frequency from the fourth."""
