"""RULER's question answering, `qa_1` (SQuAD) and `qa_2` (HotpotQA) (arXiv 2404.06654), from files of the user's.

As in the paper: the paragraphs that hold the answer stand at random among paragraphs of other questions, as many as
fit, and an answer is right if it contains one of the reference's. The files are SQuAD's `dev-v2.0.json` and HotpotQA's
`hotpot_dev_distractor_v1.json`; neither is part of this package.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from .sample import Draft, Needle


@dataclass(frozen=True)
class Item:
    """A question, its answers, and the numbers of the paragraphs that hold them."""

    question: str
    answers: tuple[str, ...]
    paragraphs: tuple[int, ...]


@dataclass(frozen=True)
class Collection:
    items: tuple[Item, ...]
    paragraphs: tuple[str, ...]


def read_squad(path: Path) -> Collection:
    """Answerable questions of a SQuAD file, version 1 or 2."""
    items, texts = [], []
    for article in _load(path, lambda data: data["data"]):
        for paragraph in article["paragraphs"]:
            texts.append(paragraph["context"])
            for asked in paragraph["qas"]:
                answers = tuple(dict.fromkeys(answer["text"] for answer in asked["answers"]))
                if answers and not asked.get("is_impossible"):
                    items.append(Item(asked["question"], answers, (len(texts) - 1,)))
    return _collection(path, items, texts)


def read_hotpot(path: Path) -> Collection:
    """Questions of a HotpotQA file with distractors: each keeps all of its own paragraphs."""
    items: list[Item] = []
    numbers: dict[str, int] = {}
    for asked in _load(path, list):
        own = [f"{title}\n{''.join(sentences)}" for title, sentences in asked["context"]]
        places = tuple(numbers.setdefault(text, len(numbers)) for text in own)
        items.append(Item(asked["question"], (asked["answer"],), places))
    return _collection(path, items, list(numbers))


READERS = {"qa_1": read_squad, "qa_2": read_hotpot}
FILES = {"qa_1": "SQuAD's dev-v2.0.json", "qa_2": "HotpotQA's hotpot_dev_distractor_v1.json"}


@lru_cache(maxsize=4)
def read(name: str, path: Path) -> Collection:
    """The questions of task `name` in the file.

    Raises:
        ValueError: it is not such a file.
        OSError: it cannot be read.
    """
    try:
        return READERS[name](path)
    except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not {FILES[name]}: {type(error).__name__} {error}") from None


def question_answering(collection: Collection) -> Callable[[Generator, int], Draft]:
    def draft(rng: Generator, n_tokens: int) -> Draft:
        item = collection.items[int(rng.integers(len(collection.items)))]
        own = set(item.paragraphs)
        others = [int(i) for i in rng.permutation(len(collection.paragraphs)) if int(i) not in own]
        order = int(rng.integers(2**63))

        def context(n: int) -> str:
            chosen = np.random.default_rng(order).permutation([*item.paragraphs, *others[:n]])
            return "\n\n".join(f"Document {i}:\n{collection.paragraphs[j]}" for i, j in enumerate(chosen, start=1))

        held = [(collection.paragraphs[i], answer) for i in item.paragraphs for answer in item.answers[:1]]
        return Draft(
            instruction="Answer a question from the documents below. Give only the answer, in a few words.",
            context=context,
            question=f"From the documents above, in a few words: {item.question}",
            prefix="Answer:",
            answers=item.answers,
            needles=tuple(Needle(text, answer) for text, answer in held if answer in text),
            limit=len(others),
        )

    return draft


def _load(path: Path, pick: Callable[[Any], Any]) -> Any:
    return pick(json.loads(path.read_text(encoding="utf-8")))


def _collection(path: Path, items: list[Item], texts: list[str]) -> Collection:
    if not items:
        raise ValueError(f"{path} has no question with an answer")
    return Collection(tuple(items), tuple(texts))
