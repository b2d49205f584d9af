"""The set made of units: exactly as many tokens as asked for, whole units but one, the best first."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asl_llamacpp.selection.unit_scores import best_units, selected_units, unit_scores

Case = tuple[NDArray[np.float32], NDArray[np.int32]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Scores with many ties, and units of any length."""
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=20))
    values = st.sampled_from([0.0, 0.25, 1.0, -1.0]) | st.floats(-9, 9, width=32)
    scores = draw(st.lists(values, min_size=sum(lengths), max_size=sum(lengths)))
    return np.array(scores, np.float32), np.cumsum([0, *lengths[:-1]]).astype(np.int32)


def pieces(case: Case) -> list[NDArray[np.float32]]:
    return np.split(case[0], case[1][1:])


@given(cases(), st.integers(1, 6))
def test_scores_are_means_of_the_best(case: Case, best: int) -> None:
    found = unit_scores(*case, best)
    assert found.dtype == np.float32
    least = [case[0].min()] * best
    expected = [np.sort([*piece, *least])[::-1][:best].mean(dtype=np.float64) for piece in pieces(case)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@given(cases(), st.integers(-1, 190))
def test_exactly_so_many_tokens_and_whole_units_but_one(case: Case, count: int) -> None:
    scores, starts = case
    found = best_units(scores, starts, count)
    assert found.dtype == np.int32
    assert len(found) == min(max(count, 0), len(scores))
    assert (np.diff(found) > 0).all()
    kept = np.isin(np.arange(len(scores)), found)
    shares = [part.mean() for part in np.split(kept, starts[1:])]
    partial = [i for i, share in enumerate(shares) if 0 < share < 1]
    assert len(partial) <= 1
    values = unit_scores(scores, starts)
    whole, part, none = (
        [(-float(values[i]), i) for i, share in enumerate(shares) if wanted(share)]
        for wanted in (lambda share: share == 1, lambda share: 0 < share < 1, lambda share: share == 0)
    )
    assert sorted(whole) + part + sorted(none) == sorted(whole + part + none)
    for i in partial:
        at = np.flatnonzero(np.split(kept, starts[1:])[i])
        assert at[-1] - at[0] + 1 == len(at), "the part is in one piece"
        piece, room = pieces(case)[i].astype(np.float64), len(at)
        sums = [piece[a : a + room].sum() for a in range(len(piece) - room + 1)]
        assert at[0] == int(np.argmax(sums)), "the first part with the largest sum"


@given(cases(), st.integers(0, 60), st.integers(1, 20))
def test_the_window_is_kept_and_no_unit_straddles_it(case: Case, top: int, window: int) -> None:
    scores, starts = case
    n = len(scores)
    past = scores[: max(n - window, 0)]
    found = selected_units(past, top, n - len(past), starts)
    assert found[found >= len(past)].tolist() == list(range(len(past), n))
    assert len(found) == min(top, len(past)) + n - len(past)
    assert found[found < len(past)].tolist() == best_units(past, starts[starts < len(past)], top).tolist()


def test_a_sentence_comes_before_a_lonely_spike() -> None:
    scores = np.array([0, 0, 3, 0, 0, 0, 1, 1, 1, 1, 0, 0], np.float32)
    starts = np.array([0, 6], np.int32)
    assert unit_scores(scores, starts).tolist() == [3 / 8, 4 / 8]
    assert best_units(scores, starts, 6).tolist() == [6, 7, 8, 9, 10, 11]
    assert best_units(scores, starts, 8).tolist() == [1, 2, 6, 7, 8, 9, 10, 11]


def test_a_few_words_do_not_outdo_a_sentence() -> None:
    """Whatever the scores are measured from: inner products may all be negative."""
    scores, starts = np.array([3, 2, 2, 2, 2, 1, 0], np.float32), np.array([0, 1, 6], np.int32)
    for shift in (0, -10):
        assert best_units(scores + np.float32(shift), starts, 5).tolist() == [1, 2, 3, 4, 5]


def test_equal_units_are_taken_from_the_first_on() -> None:
    starts = np.arange(0, 100, 5, dtype=np.int32)
    assert best_units(np.ones(100, np.float32), starts, 12).tolist() == list(range(12))


def test_fewer_tokens_than_the_best_unit_has() -> None:
    scores = np.array([0, 0, 0, 5, 9, 5, 0, 0], np.float32)
    assert best_units(scores, np.array([0, 2], np.int32), 3).tolist() == [3, 4, 5]


@pytest.mark.parametrize("longest", [1, 11, 48])
def test_the_choice_in_a_long_prompt_takes_no_time(longest: int) -> None:
    """131,072 tokens: 16 ms on an idle machine, and 50 allowed; a test that others run beside allows more."""
    n = 131_072
    scores, starts = np.random.default_rng(0).random(n - 32, np.float32), np.arange(0, n, longest, dtype=np.int32)
    began = time.process_time()
    assert len(selected_units(scores, 16_384 - 32, 32, starts)) == 16_384
    assert time.process_time() - began < 0.2
