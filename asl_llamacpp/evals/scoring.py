"""How right an answer is, 0 to 1."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence


def share_found(output: str, answers: Sequence[str]) -> float:
    """The share of the answers that the output contains, in any letter case (RULER's string_match_all)."""
    return sum(answer.lower() in output.lower() for answer in answers) / len(answers)


def any_found(output: str, answers: Sequence[str]) -> float:
    """1 if the output contains any of the answers, in any letter case (RULER's string_match_part)."""
    return float(any(answer.lower() in output.lower() for answer in answers))


ONLY_RISING = (share_found, any_found)
"""Scores that more text cannot lower."""


def first_number(output: str, answers: Sequence[str]) -> float:
    """1 if the first number of the output is an answer (InfiniteBench, retrieval and math_find)."""
    found = re.search(r"-?\d[\d,]*(?:\.\d+)?", output)
    return float(found is not None and found[0].replace(",", "") in answers)


def whole_word(output: str, answers: Sequence[str]) -> float:
    """1 if an answer is a word of the output (InfiniteBench, KV retrieval)."""
    words = {word.strip(string.punctuation) for word in output.split()}
    return float(any(answer in words for answer in answers))


def first_choice(output: str, answers: Sequence[str]) -> float:
    """1 if the first letter A to D that stands alone is an answer, or else the output has the answer's own text."""
    found = re.search(r"\b([A-D])\b", output)
    if found is not None:
        return float(found[1] in answers)
    return any_found(output, [answer for answer in answers if len(answer) > 1])


def word_f1(output: str, answers: Sequence[str]) -> float:
    """The best F1 of words in common with an answer, without case, punctuation and articles (SQuAD's measure)."""
    return max(_f1(_words(output), _words(answer)) for answer in answers)


def _words(text: str) -> list[str]:
    plain = text.lower().translate(str.maketrans("", "", string.punctuation))
    return [word for word in plain.split() if word not in {"a", "an", "the"}]


def _f1(given: list[str], right: list[str]) -> float:
    common = sum((Counter(given) & Counter(right)).values())
    return 2 * common / (len(given) + len(right)) if common else 0.0
