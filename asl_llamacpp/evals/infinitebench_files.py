"""InfiniteBench's tasks of real text (arXiv 2402.13718), from its JSONL files, which the user has.

A line is an object with "context", "input", "answer" (a text or a list) and, for multiple choice, "options". As in the
paper, a text that is too long is cut in its middle. Different: prompts have the length that is asked for, and are never
padded, so that a shorter text gives a shorter prompt; `longbook_qa_eng` is scored as SQuAD's F1. Summaries (ROUGE),
code and calculation that must be run, and the Chinese task are not here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.random import Generator

from .sample import Draft, Score
from .scoring import any_found, first_choice, first_number, word_f1

FILES: dict[str, tuple[int, Score]] = {
    "longbook_qa_eng": (40, word_f1),
    "longbook_choice_eng": (16, first_choice),
    "longdialogue_qa_eng": (40, any_found),
    "math_find": (16, first_number),
    "code_debug": (16, first_choice),
}
"""By task: longest answer in tokens, and score."""


@lru_cache(maxsize=8)
def read(path: Path) -> tuple[dict[str, Any], ...]:
    """The lines of the file; ValueError names the first bad one."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            answers = row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
            rows.append({**row, "answer": [str(answer) for answer in answers], "context": row["context"] + ""})
            if not answers:
                raise ValueError("no answer")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: not a line of InfiniteBench: {error!r}") from None
    if not rows:
        raise ValueError(f"{path} is empty")
    return tuple(rows)


def from_file(rows: tuple[dict[str, Any], ...]) -> Callable[[Generator, int], Draft]:
    def draft(rng: Generator, n_tokens: int) -> Draft:
        at = int(rng.integers(len(rows)))
        row = rows[at]
        words = row["context"].split(" ")
        options = [str(option) for option in row.get("options") or ()]
        lettered = list(zip("ABCD", options, strict=False))
        answers = [*row["answer"], *(letter for letter, option in lettered if option in row["answer"])]

        def context(n: int) -> str:
            if n >= len(words):
                return str(row["context"])
            return " ".join(words[: n - n // 2]) + " ... " + " ".join(words[len(words) - n // 2 :])

        return Draft(
            instruction="Read the text below. A question about it follows.",
            context=context,
            question="\n".join([str(row.get("input", "")) or "Answer.", *(f"{a}. {text}" for a, text in lettered)]),
            prefix="Answer:",
            answers=tuple(answers),
            finish=lambda n: {"line": at + 1, "cut": n < len(words)},
            limit=len(words),
            pad=False,
        )

    return draft
