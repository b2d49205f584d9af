"""Prompts that ask for what stands in the text in other words, over two steps, or as a list: beside RULER's needles.

Heads that find a needle by its own words need not be those that find what is asked for otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

from numpy.random import Generator

from .filler import Stream, different, insert_at, number, prose, random_depths
from .sample import Draft, Needle
from .words import key

_ASKED = (
    ("{name} keeps the number {value} under lock and key.", "Which figure does {name} hide from everybody?"),
    ("To reach {name} by telephone one has to dial {value}.", "Under what number can somebody call {name}?"),
    ("In the year of the flood {name} counted {value} sheep.", "How many animals did {name} own?"),
    ("{name} was paid {value} crowns for the harvest.", "How much money did {name} earn?"),
)
_ITEMS = ("a lantern", "two ropes", "a kettle", "some chalk", "a mirror", "nine nails", "a compass", "an old drum")


def _draft(
    rng: Generator,
    passages: Sequence[str],
    needles: Sequence[Needle],
    question: str,
    prefix: str,
    answers: Sequence[str],
) -> Draft:
    depths, filler = random_depths(rng, len(passages)), Stream(prose(rng))
    return Draft(
        instruction="Read the text below. A question about it follows.",
        context=lambda n: insert_at(filler.first(n), list(passages), depths),
        question=question,
        prefix=prefix,
        answers=tuple(answers),
        needles=tuple(needles),
    )


def paraphrase(rng: Generator, n_tokens: int) -> Draft:
    """What is asked for stands there in other words."""
    names = different(lambda: key(rng))
    sentence, question = _ASKED[int(rng.integers(len(_ASKED)))]
    name, value = next(names), number(rng)
    others = [_ASKED[i][0].format(name=next(names), value=number(rng)) for i in range(len(_ASKED))]
    passage = sentence.format(name=name, value=value)
    passages = [f"{text} " for text in (passage, *others)]
    asked = f"{question.format(name=name)} Answer with the number."
    return _draft(rng, passages, [Needle(passage, value)], asked, "The number is", [value])


def two_hop(rng: Generator, n_tokens: int) -> Draft:
    """One sentence says whom to look for, another one the answer."""
    names = different(lambda: key(rng))
    first, second, value = next(names), next(names), number(rng)
    step, last = f"The guardian of {first} is {second}.", f"The secret number of {second} is {value}."
    others = [f"The secret number of {next(names)} is {number(rng)}." for _ in range(2)]
    passages = [f"{text} " for text in (step, last, *others)]
    question = f"Who is the guardian of {first}, and what is the secret number of that guardian?"
    prefix = f"The guardian of {first} is {second}, whose secret number is"
    return _draft(rng, passages, [Needle(step, second), Needle(last, value)], question, prefix, [value])


def list_items(rng: Generator, n_tokens: int) -> Draft:
    """A list in the text, each line an item."""
    names = different(lambda: key(rng))
    name, other = next(names), next(names)
    order = [_ITEMS[int(i)] for i in rng.permutation(len(_ITEMS))]
    mine, theirs = order[:3], order[3:6]
    texts = [
        "\n" + "\n".join([f"What {who} takes along:", *(f"- {item}" for item in items)]) + "\n"
        for who, items in ((name, mine), (other, theirs))
    ]
    needles = [Needle(texts[0].strip(), item) for item in mine]
    return _draft(rng, texts, needles, f"What does {name} take along? Name all three things.", f"{name} takes", mine)
