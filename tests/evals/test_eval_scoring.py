"""Scores of answers."""

from __future__ import annotations

import pytest

from asl_llamacpp.evals.scoring import any_found, first_choice, first_number, share_found, whole_word, word_f1


def test_share_and_any() -> None:
    assert share_found("The words are Apple, pear.", ["apple", "PEAR", "plum", "fig"]) == 0.5
    assert any_found("It was in Paris.", ["Rome", "paris"]) == 1.0
    assert any_found("It was in Oslo.", ["Rome", "paris"]) == 0.0


@pytest.mark.parametrize(
    ("output", "right"),
    [("71432.", 1), ("it is 71432", 1), ("71,432", 1), ("7143", 0), ("714321", 0), ("5 or 71432", 0), ("none", 0)],
)
def test_first_number(output: str, right: int) -> None:
    assert first_number(output, ["71432"]) == right


def test_whole_word() -> None:
    assert whole_word('"ab-12".', ["ab-12"]) == 1.0
    assert whole_word("ab-123", ["ab-12"]) == 0.0


def test_first_choice() -> None:
    assert [first_choice(text, ["C", "the cat"]) for text in ("C", "(C) x", "The cat", "A C", "dog")] == [1, 1, 1, 0, 0]


def test_word_f1_takes_the_best_answer() -> None:
    assert word_f1("The old man.", ["old man", "sea"]) == 1.0
    assert word_f1("old man and sea", ["old man", "boat"]) == pytest.approx(2 / 3)
    assert word_f1("", ["x"]) == 0.0
