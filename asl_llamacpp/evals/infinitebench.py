"""InfiniteBench's synthetic retrieval tasks (arXiv 2402.13718): passkey, number string, KV retrieval.

As in the paper: a 5-digit pass key in noise, at a random depth; likewise a sequence of 10 digits, some of them
repeated; one value out of a JSON object of random UUIDs. Different: lengths are chosen, not 100 K, and the wording is
our own.
"""

from __future__ import annotations

import json

from numpy.random import Generator

from .filler import Stream, insert_at, noise, number, uuid
from .sample import Draft, Needle


def passkey(rng: Generator, n_tokens: int) -> Draft:
    return _hidden(rng, "pass key", number(rng, 5))


def number_string(rng: Generator, n_tokens: int) -> Draft:
    digits: list[str] = []
    while len(digits) < 10:  # runs of one to three equal digits make it harder to copy
        digits += [number(rng, 1)] * int(rng.integers(1, 4))
    return _hidden(rng, "sequence of digits", "".join(digits[:10]))


def _hidden(rng: Generator, what: str, value: str) -> Draft:
    needle = Needle(f"The {what} is {value}. Remember it.", value)
    depth = float(rng.random())
    haystack = Stream(noise())
    return Draft(
        instruction=f"A {what} is hidden in a lot of idle text. Find it and remember it: you will be asked for it.",
        context=lambda n: insert_at(haystack.first(n), [f"{needle.text} {value} is the {what}.\n"], [depth]),
        question=f"What is the {what} in the text above?",
        prefix=f"The {what} is",
        answers=(value,),
        needles=(needle,),
        finish=lambda n: {"depths": {value: depth}},
    )


def kv_retrieval(rng: Generator, n_tokens: int) -> Draft:
    wanted, value = uuid(rng), uuid(rng)
    others = Stream(iter(lambda: f'"{uuid(rng)}": "{uuid(rng)}"', None))
    line = f'"{wanted}": "{value}"'
    depth = float(rng.random())

    def context(n: int) -> str:
        pairs = list(others.first(n))
        pairs.insert(round(depth * n), line)
        return "{" + ",\n".join(pairs) + "}"

    return Draft(
        instruction="Below is a JSON object. Look up the value of the key that you will be asked for.",
        context=context,
        question=f'What is the value of the key "{wanted}" in the JSON object above?',
        prefix=f"The value of the key {json.dumps(wanted)} is",
        answers=(value,),
        needles=(Needle(line, value),),
        finish=lambda n: {"depths": {value: depth}},
    )
